"""What was measured, and its JSON form.

Raw passes are stored; statistics are derived when they are read, so that they can be derived anew.

Version history of the schema:

1. First version. Keys may join; those that are there keep their meaning.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from throughput.measure.statistics import rate_interval

SCHEMA = 1

Status = Literal["ok", "skipped", "failed"]
PhaseName = Literal["load", "model", "train"]
Bottleneck = Literal["loader-bound", "model-bound", "transfer-bound", "cpu-contended", "balanced"]


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
    """

    images: int
    seconds: float
    wait_seconds: float
    batch_wait_seconds: tuple[float, ...] = ()


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
        waits = sorted(wait for one in self.passes for wait in one.batch_wait_seconds)
        if not waits:
            return None
        return {
            # -(-a // b) rounds up: the shortest wait that is no shorter than that share of them.
            f"p{share}": 1e3 * waits[-(-share * len(waits) // 100) - 1]
            for share in (50, 99)
        }


@dataclass(frozen=True)
class EpochCount:
    """What one epoch delivered. ``complete`` is False where the time budget ended it early.

    expected: distinct ids that the epoch holds. unique: of these, how many came. missing: how many
    did not (None in an epoch that was cut short). duplicate: ids that came again. padded: filler that the
    loader declared (id -1). unexpected: ids that do not belong to the split or to this rank's source.
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
        return not (self.missing or self.duplicate or self.unexpected or self.corrupt)


@dataclass(frozen=True)
class LedgerCount:
    """Every epoch's count. Its summary is the worst epoch, a complete one where there is a choice."""

    epochs: tuple[EpochCount, ...]

    @property
    def worst(self) -> EpochCount:
        """The complete epoch with the most faults; one that was cut short where only such show any."""

        def badness(count: EpochCount) -> tuple[bool, bool, int]:
            faults = (count.missing or 0) + count.duplicate + count.unexpected + count.corrupt
            return faults > 0, count.complete, faults

        return max(self.epochs, key=badness)

    @property
    def exact(self) -> bool:
        """True where no epoch, complete or not, shows a fault."""
        return all(epoch.exact for epoch in self.epochs)


@dataclass(frozen=True)
class Check:
    """One thing that a certificate looked at.

    value, limit: what was found and what is allowed, in the unit that ``words`` names; None where a check
    has no number. words: what was looked at and what was found, in a sentence.
    """

    name: str
    ok: bool
    words: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Certificate:
    """Whether a loader does the canonical work.

    comparable: None where it could not be certified, and ``reason`` says why. seconds: what it took to
    make. cached: it was made by an earlier run.
    """

    comparable: bool | None
    checks: tuple[Check, ...] = ()
    reason: str | None = None
    seconds: float = 0.0
    cached: bool = False

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.ok)


@dataclass(frozen=True)
class Suggestion:
    """What to try next, and the images per second in training that it is predicted to give.

    low, high: between these the rate is predicted to lie, with 95 % confidence where it comes from measured
    passes. options: the options of ``throughput bench`` that apply it, without the leading dashes; None
    where it is out of the command's reach. measured: what was then measured (``--check-prediction``).
    """

    text: str
    images_per_second: float
    low: float
    high: float
    options: dict[str, str] | None = None
    measured: Rate | None = None


@dataclass(frozen=True)
class Projection:
    """How long one epoch of so many images takes at the measured training rate and at its interval's ends.

    low, high: None where one pass shows no spread.
    """

    images: int
    seconds: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Verdict:
    """What limits the training and what to try next, the most promising first.

    overlap_efficiency: 1 where the shorter of loading and computing is hidden behind the longer, 0 where they
    take turns; None where a phase is missing. stages: seconds of one core, for an image, in each stage of
    the loader's work, by the stage's name.
    """

    bottleneck: Bottleneck
    sentence: str
    overlap_efficiency: float | None
    stages: dict[str, float] = field(default_factory=dict)
    suggestions: tuple[Suggestion, ...] = ()
    epochs: tuple[Projection, ...] = ()


@dataclass(frozen=True)
class CacheEvidence:
    """What the page cache held and what the device gave, over all cold or warm passes of a row.

    files_bytes: of all files that hold the data. resident_before: the largest (cold) or smallest (warm)
    share of them in the page cache when a pass began, 0..1. bytes_read: from the device during the passes;
    bytes_delivered: encoded bytes of the samples that they delivered. fetch_stall_fraction,
    preparation_stall_fraction: shares of the cold training time, by differencing with the warm and with
    the replayed run; None where one of them is missing.
    """

    mode: Literal["cold", "warm"]
    files_bytes: int
    resident_before: float
    bytes_read: int
    bytes_delivered: int
    fetch_stall_fraction: float | None = None
    preparation_stall_fraction: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two loaders over the rounds that ran both: ``loader``'s rate over ``baseline``'s.

    ratio, low, high: of the paired rates, with its 95 % interval; low and high are None for one pair.
    """

    loader: str
    baseline: str
    phase: PhaseName
    ratio: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def words(self) -> Literal["faster", "slower", "not told apart"]:
        if self.low is not None and self.low > 1:
            return "faster"
        if self.high is not None and self.high < 1:
            return "slower"
        return "not told apart"


@dataclass(frozen=True)
class Preparation:
    """What a loader wrote before it could read the source, and where.

    seconds: 0 where an earlier run had written it.
    """

    seconds: float = 0.0
    bytes: int = 0
    folder: str | None = None


@dataclass(frozen=True)
class Row:
    """One loader's measurements; None where not measured or not measurable.

    bad_input: it failed because of what the user gave, not because of the loader.
    """

    loader: str
    status: Status
    reason: str | None = None
    bad_input: bool = False
    decode: Literal["cpu", "gpu"] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Preparation | None = None
    load: Phase | None = None
    model: Phase | None = None
    train: Phase | None = None
    accuracy: float | None = None
    accuracy_reason: str | None = None
    train_steps: int | None = None
    """Steps before the accuracy was measured, warm-up included; a faster loader has more of them."""
    train_images: int | None = None
    loss: float | None = None
    gpu_utilisation: float | None = None
    jpeg_utilisation: float | None = None
    cpu_utilisation: float | None = None
    peak_rss_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    energy_joules: float | None = None
    ledger: LedgerCount | None = None
    certificate: Certificate | None = None
    verdict: Verdict | None = None
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds of one core, for an image, in each stage of the loader's work."""
    load_cpu_utilisation: float | None = None
    """CPU utilisation while the loader ran alone, 0..1 of the usable cores; likewise for the model."""
    model_cpu_utilisation: float | None = None
    cache: CacheEvidence | None = None
    warnings: tuple[str, ...] = ()

    @property
    def share_of_ceiling(self) -> float | None:
        """Training rate over the model's own rate, 0..1 and, by noise, a little above."""
        if self.train is None or self.model is None:
            return None
        return self.train.images_per_second.median / self.model.images_per_second.median


@dataclass(frozen=True)
class Results:
    """One run of the bench: what it was, where it ran, a row for each loader, and how these compare."""

    created: str
    command: str
    environment: dict[str, Any]
    work: dict[str, Any]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` writes, in schema 1."""
        return {
            "schema": SCHEMA,
            "created": self.created,
            "command": self.command,
            "environment": self.environment,
            "work": self.work,
            "rows": [_row(row) for row in self.rows],
            "comparisons": [vars(one) | {"words": one.words} for one in self.comparisons],
        }


def _row(row: Row) -> dict[str, Any]:
    return {
        "loader": row.loader,
        "status": row.status,
        "reason": row.reason,
        "bad_input": row.bad_input,
        "decode": row.decode,
        "options": row.options,
        "prepare": None if row.prepare is None else vars(row.prepare),
        "load": _phase(row.load),
        "model": _phase(row.model),
        "train": _phase(row.train),
        "share_of_ceiling": row.share_of_ceiling,
        "accuracy": row.accuracy,
        "accuracy_reason": row.accuracy_reason,
        "train_steps": row.train_steps,
        "train_images": row.train_images,
        "loss": row.loss,
        "gpu_utilisation": row.gpu_utilisation,
        "jpeg_utilisation": row.jpeg_utilisation,
        "cpu_utilisation": row.cpu_utilisation,
        "peak_rss_bytes": row.peak_rss_bytes,
        "gpu_memory_bytes": row.gpu_memory_bytes,
        "energy_joules": row.energy_joules,
        "ledger": _ledger(row.ledger),
        "certificate": None if row.certificate is None else asdict(row.certificate),
        "verdict": None if row.verdict is None else asdict(row.verdict),
        "stages": row.stages,
        "load_cpu_utilisation": row.load_cpu_utilisation,
        "model_cpu_utilisation": row.model_cpu_utilisation,
        "cache": None if row.cache is None else asdict(row.cache),
        "warnings": list(row.warnings),
    }


def _phase(phase: Phase | None) -> dict[str, Any] | None:
    if phase is None:
        return None
    rate = phase.images_per_second
    return {
        "images_per_second": {"median": rate.median, "low": rate.low, "high": rate.high},
        "passes": [
            {
                "images": one.images,
                "seconds": one.seconds,
                "wait_seconds": one.wait_seconds,
                "batch_wait_seconds": [round(wait, 7) for wait in one.batch_wait_seconds],
            }
            for one in phase.passes
        ],
        "wait_fraction": phase.wait_fraction,
        "wait_ms": phase.wait_ms,
        "first_batch_seconds": phase.first_batch_seconds,
        "epoch_gap_seconds": phase.epoch_gap_seconds,
    }


def _ledger(ledger: LedgerCount | None) -> dict[str, Any] | None:
    if ledger is None:
        return None
    worst = ledger.worst
    return {
        "expected": worst.expected,
        "unique": worst.unique,
        "missing": worst.missing,
        "duplicate": worst.duplicate,
        "padded": worst.padded,
        "corrupt": worst.corrupt,
        "unexpected": worst.unexpected,
        "complete": worst.complete,
        "exact": ledger.exact,
        "epochs": [vars(epoch) for epoch in ledger.epochs],
    }
