"""What must be alike in all ranks, and what only one process can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from throughput.errors import OptionError
from throughput.ranks.company import Company

_OWN = ("rank", "device", "workers")
"""Of a work, what each rank may have of its own."""


def require_possible(*, check_prediction: bool, cache: str) -> None:
    """Raise OptionError for what several ranks cannot do together."""
    if check_prediction:
        raise OptionError("--check-prediction is for one process: start it without torchrun")
    if cache == "cold":
        raise OptionError(
            "--cache cold is for one process: what one rank evicts, another may just be reading; "
            "start it without torchrun"
        )


def require_same_past(company: Company, done: tuple[int, int]) -> None:
    """Raise OptionError where ranks would go on from different checkpoints, or some from none.

    done: epochs, and batches of the next one.
    """
    if len(set(company.everyone(done))) > 1:
        raise OptionError(
            "not all ranks find the same checkpoint: put --checkpoint where every machine reads the same file"
        )


def require_same_work(company: Company, work: Mapping[str, Any]) -> None:
    """Raise OptionError, in every rank, where one would do other work than rank 0.

    work: as ``describe_work`` tells it.
    """
    first, *others = company.everyone({name: value for name, value in work.items() if name not in _OWN})
    for rank, other in enumerate(others, start=1):
        for name, value in first.items():
            if other.get(name) != value:
                raise OptionError(
                    f"rank {rank} would work with {name} {other.get(name)!r}, and rank 0 with {value!r}: "
                    "give every rank the same options, and every machine the same data"
                )
