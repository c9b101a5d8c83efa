"""The ledger of all ranks: what none saw, or named as bad, is missing; what two of them saw came twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from throughput.measure.ledger import Ledger, Seen
from throughput.measured import each_once
from throughput.ranks.company import Company
from throughput.results import EpochCount, LedgerCount

Told = Mapping[int, tuple[EpochCount, Seen]]
"""By epoch: a rank's own count, as if it were alone, and the ids of its samples."""


class LedgerOfAll:
    """ledger: this rank's own, of the whole split; it keeps what was seen where there are other ranks."""

    def __init__(self, ledger: Ledger, company: Company) -> None:
        self._ledger = ledger
        self._company = company
        self._own_epochs = 0
        self._epochs: tuple[EpochCount, ...] = ()

    def count(self) -> LedgerCount:
        """As ``Ledger.count``; all ranks call it at once."""
        return self._together(self._ledger.count())

    def count_finished(self) -> LedgerCount:
        """As ``Ledger.count_finished``; all ranks call it at once."""
        return self._together(self._ledger.count_finished())

    def _together(self, now: LedgerCount) -> LedgerCount:
        if self._company.size == 1:
            return now
        new = now.epochs[self._own_epochs :]
        self._own_epochs = len(now.epochs)
        seen = self._ledger.take_seen()
        own: Told = {one.epoch: (one, ids) for one, ids in zip(new, seen, strict=True)}
        told = self._company.everyone((own, now))
        self._epochs = (*self._epochs, *_merged([epochs for epochs, _ in told]))
        counts = [count for _, count in told]
        bad = each_once(one for count in counts for one in count.bad_samples)
        return LedgerCount(self._epochs, sum(count.mislabelled for count in counts), bad)


def _merged(told: Sequence[Told]) -> tuple[EpochCount, ...]:
    epochs = sorted({epoch for one in told for epoch in one})
    return tuple(_epoch(epoch, [one.get(epoch) for one in told]) for epoch in epochs)


def _epoch(epoch: int, ranks: Sequence[tuple[EpochCount, Seen] | None]) -> EpochCount:
    """An epoch is complete where it is in every rank."""
    there = [one for one in ranks if one is not None]
    counts = [count for count, _ in there]
    came = np.concatenate([seen.came for _, seen in there])
    bad = np.concatenate([seen.bad for _, seen in there])
    lost = len(np.setdiff1d(bad, came))
    unique = len(np.unique(came))
    complete = len(there) == len(ranks) and all(count.complete for count in counts)
    # Of a pipeline with ids of its own, what is expected is what came.
    known = all(count.missing is not None or not count.complete for count in counts)
    expected = max(count.expected for count in counts) if known else unique
    return EpochCount(
        epoch=epoch,
        complete=complete,
        expected=expected,
        unique=unique,
        missing=expected - unique - lost if complete and known else None,
        duplicate=sum(count.duplicate for count in counts) + len(came) - unique,
        padded=sum(count.padded for count in counts),
        corrupt=lost,
        unexpected=sum(count.unexpected for count in counts),
    )
