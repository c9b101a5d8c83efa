"""Which plug-ins are this package's own: the page tells of them alone, unless all are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

PACKAGE = "throughput"


def is_own(entry: EntryPoint) -> bool:
    """Whether this package registered it."""
    return entry.dist is not None and entry.dist.name == PACKAGE


def own_names(group: str, names: Sequence[str]) -> list[str]:
    """Those of the ``names`` that this package registered in the group of entry points."""
    own = {entry.name for entry in entry_points(group=group) if is_own(entry)}
    return [name for name in names if name in own]
