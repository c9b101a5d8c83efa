"""What was measured, and its JSON form.

Raw passes are stored; statistics are derived when they are read, so that they can be derived anew.

Version history of the schema:

1. First version. Keys may join; those that are there keep their meaning.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = 1

Status = Literal["ok", "skipped", "failed"]
PhaseName = Literal["load", "model", "train"]


@dataclass(frozen=True)
class Rate:
    """Images per second over several passes: the median, and the slowest and fastest pass.

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
        rates = [one.images / one.seconds for one in self.passes]
        several = len(rates) > 1
        return Rate(
            statistics.median(rates), min(rates) if several else None, max(rates) if several else None
        )

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
    warnings: tuple[str, ...] = ()

    @property
    def share_of_ceiling(self) -> float | None:
        """Training rate over the model's own rate, 0..1 and, by noise, a little above."""
        if self.train is None or self.model is None:
            return None
        return self.train.images_per_second.median / self.model.images_per_second.median


@dataclass(frozen=True)
class Results:
    """One run of the bench: what it was, where it ran, and a row for each loader."""

    created: str
    command: str
    environment: dict[str, Any]
    work: dict[str, Any]
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` writes, in schema 1."""
        return {
            "schema": SCHEMA,
            "created": self.created,
            "command": self.command,
            "environment": self.environment,
            "work": self.work,
            "rows": [_row(row) for row in self.rows],
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
        # No certificate is made and no verdict is drawn yet: null, never a guess.
        "certificate": None,
        "verdict": None,
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
