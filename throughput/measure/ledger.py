"""Which samples came: every id of an epoch exactly once, or the difference is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import UNKNOWN_ID, Batch, Fault
from throughput.errors import LoaderError
from throughput.results import BadSample, EpochCount, LedgerCount
from throughput.resuming import packed, unpacked

if TYPE_CHECKING:
    from throughput.measure.labels import Labels

_COUNTS = ("duplicate", "padded", "unexpected")


class Seen(NamedTuple):
    """The distinct ids of an epoch, each (M,): those that came, and those that were bad and did not."""

    came: NDArray[np.int64]
    bad: NDArray[np.int64]


class Ledger:
    """Counts ids epoch by epoch.

    expected_ids: what each epoch must deliver, (M,) int64. None for a pipeline that numbers its samples in
    a way of its own: then any id belongs, and only those that come again within an epoch are found.
    labels: counts those that are not their ids' own; None where nobody knows these. keeps_seen: for
    ``take_seen``.
    """

    def __init__(
        self,
        expected_ids: NDArray[np.int64] | None,
        labels: Labels | None = None,
        *,
        keeps_seen: bool = False,
    ) -> None:
        self._keeps_seen = keeps_seen
        self._seen: list[Seen] = []
        self._labels = labels
        self._members: _Split | _OwnIds = _OwnIds() if expected_ids is None else _Split(expected_ids)
        self._finished: list[EpochCount] = []
        self._told: Counter[tuple[str, str]] = Counter()
        self._epoch: int | None = None
        self._known: bool | None = None
        self._begin_counts()

    @property
    def known(self) -> bool:
        """False where the pipeline does not tell its ids: there is nothing to count, and no epoch is."""
        return self._known is not False

    def _begin_counts(self) -> None:
        self._members.forget()
        self._bad: dict[int, Fault] = {}
        self._unique = self._duplicate = self._padded = self._unexpected = 0

    def begin(self, epoch: int, state: Mapping[str, Any] | None = None) -> None:
        """Start an epoch; one that is still open was cut short. state: what came of it before this process.

        Raises StateError where that is of another number of samples.
        """
        self._close(complete=False)
        self._epoch = epoch
        self._begin_counts()
        if state is not None:
            self._unique = self._members.see_marked(state["seen"])
            self._duplicate, self._padded, self._unexpected = (int(state[name]) for name in _COUNTS)
            self._bad = {one: Fault(one, sample, cause) for one, sample, cause in state["bad"]}
            self._known = True if self._unique else None

    def state(self) -> dict[str, Any]:
        """What came so far of the epoch under way, as plain values for ``begin``."""
        counts = (self._duplicate, self._padded, self._unexpected)
        bad = [list(fault) for fault in self._bad.values()]
        return {"seen": self._members.marked(), "bad": bad} | dict(zip(_COUNTS, counts, strict=True))

    def add_batch(self, batch: Batch) -> int:
        """``add`` its ids, and look at its labels."""
        if self._labels is not None:
            self._labels.add(batch.ids, batch.labels)
        return self.add(batch.ids.numpy())

    def add_faults(self, faults: Iterable[Fault]) -> None:
        """Samples that the loader named as bad: they are not missing."""
        for fault in faults:
            self._bad[fault.id] = fault

    def add(self, ids: NDArray[np.int64]) -> int:
        """Count one batch's ids, (N,) int64, -1 for padding; return how many came for the first time.

        Of ids that are not known (UNKNOWN_ID) all count. Raises LoaderError where only some are known.
        """
        if not len(ids):
            return 0
        unknown = int(np.count_nonzero(ids == UNKNOWN_ID))
        known = unknown == 0
        if unknown not in (0, len(ids)) or self._known not in (None, known):
            raise LoaderError("the pipeline tells the ids of some samples only: give all of them, or none")
        self._known = known
        if not known:
            return len(ids)
        real = ids[ids >= 0]
        padded = len(ids) - len(real)
        inside = self._members.among(real)
        fresh = self._members.see(np.unique(inside))
        self._padded += padded
        self._unexpected += len(real) - len(inside)
        self._unique += fresh
        self._duplicate += len(inside) - fresh
        return fresh

    def end(self) -> None:
        """The loader says that the epoch is over: what has not come by now is missing."""
        self._close(complete=True)

    def count(self) -> LedgerCount:
        """What all epochs delivered so far; no epoch where the ids are not known."""
        self._close(complete=False)
        return self.count_finished()

    def count_finished(self) -> LedgerCount:
        """The same without an epoch that is under way, which goes on; all labels so far."""
        mislabelled = 0 if self._labels is None else self._labels.wrong()
        bad = (BadSample(sample, cause, times) for (sample, cause), times in self._told.items())
        return LedgerCount(tuple(self._finished), mislabelled, tuple(bad))

    def take_seen(self) -> list[Seen]:
        """Of each epoch that was counted since this was last called."""
        seen, self._seen = self._seen, []
        return seen

    def _close(self, *, complete: bool) -> None:
        if self._epoch is None:
            return
        if self.known:
            expected = self._members.count
            self._told.update((fault.sample, fault.cause) for fault in self._bad.values())
            bad = [sample for sample in self._bad if self._members.lacks(sample)]
            if self._keeps_seen:
                self._seen.append(Seen(self._members.seen(), np.array(bad, np.int64)))
            lost = len(bad)
            self._finished.append(
                EpochCount(
                    epoch=self._epoch,
                    complete=complete,
                    expected=self._unique if expected is None else expected,
                    unique=self._unique,
                    missing=expected - self._unique - lost if complete and expected is not None else None,
                    duplicate=self._duplicate,
                    padded=self._padded,
                    corrupt=lost,
                    unexpected=self._unexpected,
                )
            )
        self._epoch = None


class _Split:
    """The ids of a split, and which of them came."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        highest = int(ids.max()) if len(ids) else -1
        self._belongs = np.zeros(highest + 1, np.bool_)
        self._belongs[ids] = True
        self.count: int | None = len(ids)

    def forget(self) -> None:
        self._seen = np.zeros(len(self._belongs), np.bool_)

    def lacks(self, sample_id: int) -> bool:
        """Whether it belongs, and has not come."""
        return 0 <= sample_id < len(self._belongs) and bool(
            self._belongs[sample_id] and not self._seen[sample_id]
        )

    def among(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those that belong."""
        inside = ids[ids < len(self._belongs)]
        return inside[self._belongs[inside]]

    def see(self, distinct: NDArray[np.int64]) -> int:
        """Remember them; return how many had not come."""
        fresh = int(np.count_nonzero(~self._seen[distinct]))
        self._seen[distinct] = True
        return fresh

    def seen(self) -> NDArray[np.int64]:
        """Which came, (M,)."""
        return np.flatnonzero(self._seen)

    def marked(self) -> str:
        """Which came, for ``see_marked``."""
        return packed(self._seen)

    def see_marked(self, marked: object) -> int:
        """Remember those, and return how many they are. Raises StateError where they are of other ids."""
        self._seen = unpacked(marked, len(self._belongs)).copy()
        return int(np.count_nonzero(self._seen))


class _OwnIds:
    """Any ids, however large, and which came."""

    count: int | None = None

    def forget(self) -> None:
        self._seen: set[int] = set()

    def lacks(self, sample_id: int) -> bool:
        """Whether it has not come."""
        return sample_id not in self._seen

    def among(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return ids

    def see(self, distinct: NDArray[np.int64]) -> int:
        before = len(self._seen)
        self._seen.update(distinct.tolist())
        return len(self._seen) - before

    def seen(self) -> NDArray[np.int64]:
        return np.fromiter(self._seen, np.int64, len(self._seen))

    def marked(self) -> list[int]:
        """Which came, for ``see_marked``."""
        return sorted(self._seen)

    def see_marked(self, marked: list[int]) -> int:
        """Remember those, and return how many they are."""
        self._seen = set(marked)
        return len(self._seen)
