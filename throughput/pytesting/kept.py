"""What the tests of a session have measured. Looked at in every session, so nothing heavy is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from throughput.pytesting.records import Record

_RECORDS = pytest.StashKey[list["Record"]]()


def records_of(config: pytest.Config) -> list[Record]:
    """Those of this session so far, in order; add to it."""
    return config.stash.setdefault(_RECORDS, [])
