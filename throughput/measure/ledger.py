"""Which samples came: every id of an epoch exactly once, or the difference is shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from throughput.results import EpochCount, LedgerCount


class Ledger:
    """Counts ids epoch by epoch. ``expected_ids`` are the ids that each epoch must deliver, (M,) int64."""

    def __init__(self, expected_ids: NDArray[np.int64]) -> None:
        highest = int(expected_ids.max()) if len(expected_ids) else -1
        self._expected = np.zeros(highest + 1, np.bool_)
        self._expected[expected_ids] = True
        self._expected_count = len(expected_ids)
        self._finished: list[EpochCount] = []
        self._epoch: int | None = None
        self._begin_counts()

    def _begin_counts(self) -> None:
        self._seen = np.zeros(len(self._expected), np.bool_)
        self._unique = self._duplicate = self._padded = self._unexpected = 0

    def begin(self, epoch: int) -> None:
        """Start an epoch; one that is still open was cut short."""
        self._close(complete=False)
        self._epoch = epoch
        self._begin_counts()

    def add(self, ids: NDArray[np.int64]) -> int:
        """Count one batch's ids, (N,) int64, -1 for padding; return how many came for the first time."""
        real = ids[ids >= 0]
        padded = len(ids) - len(real)
        inside = real[real < len(self._expected)]
        inside = inside[self._expected[inside]]
        distinct = np.unique(inside)
        fresh = int(np.count_nonzero(~self._seen[distinct]))
        self._seen[distinct] = True
        self._padded += padded
        self._unexpected += len(real) - len(inside)
        self._unique += fresh
        self._duplicate += len(inside) - fresh
        return fresh

    def end(self) -> None:
        """The loader says that the epoch is over: what has not come by now is missing."""
        self._close(complete=True)

    def count(self) -> LedgerCount:
        """What all epochs delivered so far."""
        self._close(complete=False)
        return LedgerCount(tuple(self._finished))

    def _close(self, *, complete: bool) -> None:
        if self._epoch is None:
            return
        self._finished.append(
            EpochCount(
                epoch=self._epoch,
                complete=complete,
                expected=self._expected_count,
                unique=self._unique,
                missing=self._expected_count - self._unique if complete else None,
                duplicate=self._duplicate,
                padded=self._padded,
                unexpected=self._unexpected,
            )
        )
        self._epoch = None
