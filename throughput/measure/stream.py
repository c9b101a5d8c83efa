"""Ready batches, epoch after epoch, pulled by hand so that waiting is a number."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple, Protocol

import numpy as np

from throughput.contracts import FILLER_ID, Batch, Fault
from throughput.errors import LoaderError
from throughput.measure.ledger import Ledger

Clock = Callable[[], float]
"""Seconds from an arbitrary start, steadily growing."""


_NOISE_SECONDS = 0.005
"""A pull of a batch that lay ready may take this long by chance."""


class Pulled(NamedTuple):
    """A ready batch, how many of its samples count, and how long it was waited for."""

    batch: Batch
    images: int
    wait_seconds: float
    samples: int
    """Of the epoch that are done with this batch: bad ones that are not in it are counted, too."""


class Stream(Protocol):
    """Where a phase takes its batches from."""

    def pull(self) -> Pulled: ...


class HasEpochs(Protocol):
    """A loader or a feed."""

    samples_per_epoch: int

    def epoch(self, index: int) -> Iterator[Batch]: ...

    def take_faults(self) -> list[Fault]: ...


class LoaderStream:
    """Pulls from a loader or a feed without end, and keeps its ledger.

    ledger None: every image counts (for a loader that repeats samples on purpose).
    """

    def __init__(self, feed: HasEpochs, ledger: Ledger | None, clock: Clock, first_epoch: int = 0) -> None:
        self._feed = feed
        self._ledger = ledger
        self._clock = clock
        self._epoch = first_epoch - 1
        self._batches: Iterator[Batch] = iter(())
        self._epoch_gaps_seconds: list[float] = []
        self._started = False
        self._came = 0

    @property
    def next_epoch(self) -> int:
        """The first epoch that has not been touched."""
        return self._epoch + 1

    @property
    def epoch_gap_seconds(self) -> float | None:
        """Median wait for the first batch of an epoch that followed another; None where none did."""
        return statistics.median(self._epoch_gaps_seconds) if self._epoch_gaps_seconds else None

    def pull(self) -> Pulled:
        """Wait for the next ready batch. Raises LoaderError for an epoch without batches."""
        begin = self._clock()
        batch = next(self._batches, None)
        if batch is None:
            batch = self._open_epoch()
            waited = self._clock() - begin
            if self._started:
                self._epoch_gaps_seconds.append(waited)
            self._started = True
        else:
            waited = self._clock() - begin
        faults = self._feed.take_faults()
        samples = len(batch.ids)
        if faults:
            samples = int(np.count_nonzero(batch.ids.numpy() != FILLER_ID)) + len(faults)
        self._came += samples
        if self._ledger is None:
            return Pulled(batch, len(batch.ids), waited, samples)
        self._ledger.add_faults(faults)
        return Pulled(batch, self._ledger.add_batch(batch), waited, samples)

    def settle(self, most_batches: int) -> None:
        """Pull what was made ahead, so that what is measured next is what the loader delivers, not a stock.

        A pull that is waited for much longer than another shows that nothing lay ready any more. A loader
        whose pulls all take alike is pulled ``most_batches`` times.
        """
        shortest_seconds = float("inf")
        for _ in range(most_batches):
            waited_seconds = self.pull().wait_seconds
            if waited_seconds > max(3 * shortest_seconds, _NOISE_SECONDS):
                return
            shortest_seconds = min(shortest_seconds, waited_seconds)

    def finish(self) -> None:
        """Nothing more is pulled: an epoch that has come whole is over, one that has not was cut short."""
        samples = self._feed.samples_per_epoch
        # Without knowing their number nobody can tell that all have come, short of waiting for another batch.
        if self._ledger is None or not self._started or not samples or self._came < samples:
            return
        batch = next(self._batches, None)
        self._ledger.add_faults(self._feed.take_faults())
        if batch is None:
            self._ledger.end()
        else:
            self._ledger.add_batch(batch)

    def _open_epoch(self) -> Batch:
        if self._ledger is not None and self._started:
            # Those of last batches in which no image was good.
            self._ledger.add_faults(self._feed.take_faults())
            self._ledger.end()
        self._epoch += 1
        self._came = 0
        if self._ledger is not None:
            self._ledger.begin(self._epoch)
        self._batches = self._feed.epoch(self._epoch)
        batch = next(self._batches, None)
        if batch is None:
            raise LoaderError(f"the loader yielded no batch in epoch {self._epoch}")
        return batch


class ReplayStream:
    """The same ready batches again and again: what the model alone can take."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = cycle(batches)

    def pull(self) -> Pulled:
        """The next batch, at once."""
        batch = next(self._batches)
        return Pulled(batch, len(batch.ids), 0.0, len(batch.ids))
