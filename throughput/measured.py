"""What measuring yields: the passes of a phase, and what each epoch delivered."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from throughput.measure.statistics import rate_interval

PhaseName = Literal["load", "model", "train"]


@dataclass(frozen=True)
class Rate:
    """Images per second over several passes: the median, and the 95 % interval (``rate_interval``).

    A single pass has no spread: ``low`` and ``high`` are None.
    """

    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Pass:
    """One measured stretch.

    images: distinct samples of their epoch that became ready; repeats do not count (in ``replay`` they do).
    seconds: wall-clock time, all device work included.
    wait_seconds: time in which nothing but the next ready batch was waited for.
    batch_wait_seconds: the same, batch by batch.
    batch_begin_seconds: when each batch began to be waited for, from the beginning of the pass; empty where
    that was not noted.
    batch_step_seconds: what the model alone took for a batch, until its answers were there; on a GPU of
    batches that were timed by themselves, after the pass. Empty in training.
    """

    images: int
    seconds: float
    wait_seconds: float
    batch_wait_seconds: tuple[float, ...] = ()
    batch_step_seconds: tuple[float, ...] = ()
    batch_begin_seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class RemoteReading:
    """What was read from servers while a row was measured, and what the network gives at best.

    bytes_read: in answers that came whole. requests: all, failed ones among them. retries: requests that were
    made again. cache_hits: blocks that lay in the cache when a loader told of them. seconds: in which a
    request was under way. limit_megabytes_per_second: what a plain parallel download reached before; None
    where that could not be measured. limit_given: the user told it instead.
    """

    bytes_read: int
    requests: int
    retries: int
    cache_hits: int
    seconds: float
    limit_megabytes_per_second: float | None = None
    limit_given: bool = False

    @property
    def megabytes_per_second(self) -> float | None:
        """While a request was under way; None where there was none."""
        return self.bytes_read / 1e6 / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True)
class Phase:
    """The passes of one phase: the loader alone, the model alone, or both together."""

    passes: tuple[Pass, ...]
    first_batch_seconds: float | None = None
    """From opening the pipeline to its first ready batch."""
    epoch_gap_seconds: float | None = None
    """Median wait for the first batch of an epoch that followed another; None where none did."""

    @property
    def images_per_second(self) -> Rate:
        rates = self.rates
        interval = rate_interval(rates)
        return Rate(statistics.median(rates), *(interval or (None, None)))

    @property
    def rates(self) -> list[float]:
        """Images per second of each pass."""
        return [one.images / one.seconds for one in self.passes]

    @property
    def wait_fraction(self) -> float:
        """Share of the time in which the model waited for a batch, 0..1."""
        return sum(one.wait_seconds for one in self.passes) / sum(one.seconds for one in self.passes)

    @property
    def wait_ms(self) -> dict[str, float] | None:
        """Milliseconds waited for a batch: the median and the 99th percentile (nearest rank)."""
        return _percentiles_ms((wait for one in self.passes for wait in one.batch_wait_seconds), (50, 99))

    @property
    def latency_ms(self) -> dict[str, float] | None:
        """Milliseconds from handing a batch to the model to its answers: p50, p90, p99 (nearest rank)."""
        steps = (step for one in self.passes for step in one.batch_step_seconds)
        return _percentiles_ms(steps, (50, 90, 99))


def _percentiles_ms(seconds: Iterable[float], shares: Sequence[int]) -> dict[str, float] | None:
    """By nearest rank; None of nothing."""
    found = sorted(seconds)
    if not found:
        return None
    # -(-a // b) rounds up: the shortest that is no shorter than that share of them.
    return {f"p{share}": 1e3 * found[-(-share * len(found) // 100) - 1] for share in shares}


@dataclass(frozen=True)
class RankShare:
    """What one of several processes did of the whole. rank: 0 and up. host: its machine.

    images_per_second, wait_fraction, seconds: of its own passes in training, or in the one phase that was
    measured. load_images_per_second: of its loader alone; None where that was not measured.
    """

    rank: int
    host: str
    images_per_second: float
    wait_fraction: float
    seconds: float
    load_images_per_second: float | None = None


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be read or decoded. sample: where it lies. times: in so many epochs."""

    sample: str
    cause: str
    times: int


def each_once(bad_samples: Iterable[BadSample]) -> tuple[BadSample, ...]:
    """Those of several ledgers, each with all its times."""
    times: Counter[tuple[str, str]] = Counter()
    for one in bad_samples:
        times[one.sample, one.cause] += one.times
    return tuple(BadSample(*said, count) for said, count in times.items())


@dataclass(frozen=True)
class EpochCount:
    """What one epoch delivered. ``complete`` is False where the time budget ended it early.

    expected: distinct ids that the epoch holds. unique: of these, how many came. missing: how many
    did not (None in an epoch that was cut short). duplicate: ids that came again. padded: filler that the
    loader declared (id -1). corrupt: samples that the loader named as bad, which are not missing then.
    unexpected: ids that do not belong to the split or to this rank's source.
    Of a pipeline with ids of its own, only duplicates can be told: expected is what came, missing None.
    """

    epoch: int
    complete: bool
    expected: int
    unique: int
    missing: int | None
    duplicate: int
    padded: int
    corrupt: int = 0
    unexpected: int = 0

    @property
    def exact(self) -> bool:
        """True where each sample came once, or was named as bad."""
        return not (self.missing or self.duplicate or self.unexpected)


@dataclass(frozen=True)
class LedgerCount:
    """Every epoch's count. Its summary is the worst epoch, a complete one where there is a choice.

    mislabelled: samples of all epochs that came with another label than their own. bad_samples: those that
    the loader named as bad, each once.
    """

    epochs: tuple[EpochCount, ...]
    mislabelled: int = 0
    bad_samples: tuple[BadSample, ...] = ()

    @property
    def worst(self) -> EpochCount:
        """The complete epoch with the most faults; one that was cut short where only such show any."""

        def badness(count: EpochCount) -> tuple[bool, bool, int]:
            faults = (count.missing or 0) + count.duplicate + count.unexpected + count.corrupt
            return faults > 0, count.complete, faults

        return max(self.epochs, key=badness)

    @property
    def exact(self) -> bool:
        """True where no epoch, complete or not, shows a fault, and every label was right."""
        return not self.mislabelled and all(epoch.exact for epoch in self.epochs)
