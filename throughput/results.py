"""A run of the bench, and its JSON form.

Raw passes are stored; statistics are derived when they are read, so that they can be derived anew. What
a row is made of is in ``throughput.measured`` and ``throughput.judgement``; all of it is found here too.

Version history of the schema:

1. First version. Keys may join; those that are there keep their meaning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from throughput.inferred import Parity, Runtime
from throughput.judgement import (
    Bottleneck,
    CacheEvidence,
    Certificate,
    Check,
    Comparison,
    GateDecision,
    Projection,
    Suggestion,
    Verdict,
)
from throughput.measured import (
    BadSample,
    EpochCount,
    LedgerCount,
    Pass,
    Phase,
    PhaseName,
    RankShare,
    Rate,
    RemoteReading,
)
from throughput.timeline import Timeline, Usage, Window
from throughput.trained import EpochRecord, Evaluation, TrainingRun

__all__ = [
    "SCHEMA",
    "BadSample",
    "Bottleneck",
    "CacheEvidence",
    "Certificate",
    "Check",
    "Comparison",
    "EpochCount",
    "EpochRecord",
    "Evaluation",
    "GateDecision",
    "LedgerCount",
    "Parity",
    "Pass",
    "Phase",
    "PhaseName",
    "Preparation",
    "Projection",
    "RankShare",
    "Rate",
    "RemoteReading",
    "Results",
    "Row",
    "Runtime",
    "Status",
    "Suggestion",
    "Timeline",
    "TrainingRun",
    "Usage",
    "Verdict",
    "Window",
]

SCHEMA = 1

Status = Literal["ok", "skipped", "failed"]


@dataclass(frozen=True)
class Preparation:
    """What a loader wrote before it could read the source.

    seconds: 0 where an earlier run had written it. bytes: of what was written. folder: where it lies; None
    where there was nothing to write.
    """

    seconds: float = 0.0
    bytes: int = 0
    folder: str | None = None


@dataclass(frozen=True)
class Row:
    """One loader's measurements; None where not measured or not measurable.

    loader: its name. status: ``skipped`` where it cannot run here, ``failed`` where it broke. reason: why.
    bad_input: it failed because of what the user gave, not because of the loader. decode: where JPEGs were
    decoded. options: the loader's own, by name. load: the loader alone. model: the model alone, on batches
    that lie ready. train: both together. accuracy: top-1 of the held-out images, 0..1. accuracy_reason: why
    there is none. train_images: in these steps. loss: mean of the training loss over these steps.
    gpu_utilisation, jpeg_utilisation, cpu_utilisation: 0..1 of the GPU, of its JPEG engine and of the usable
    cores while both ran together, or while whatever was measured ran. energy_joules: of the whole GPU
    meanwhile. peak_rss_bytes: the most resident memory of all processes; a page that workers share counts in
    each. gpu_memory_bytes: the most that they used. warnings: what casts doubt on the row.
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
    held_out_ledger: LedgerCount | None = None
    """Of the images by which the accuracy was judged."""
    certificate: Certificate | None = None
    verdict: Verdict | None = None
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds for an image in each stage of the loader's work: CPU time of one core, but wall-clock time of
    ``loader`` (a loader that tells no stages, all its workers at work) and of what runs on a GPU."""
    load_cpu_utilisation: float | None = None
    """CPU utilisation while the loader ran alone, 0..1 of the usable cores."""
    model_cpu_utilisation: float | None = None
    """The same while the model ran alone."""
    cache: CacheEvidence | None = None
    remote: RemoteReading | None = None
    """None where the images lie on this machine."""
    training: TrainingRun | None = None
    """What ``throughput train`` did; the passes of ``train`` are its epochs then. None in a bench."""
    evaluation: Evaluation | None = None
    """The held-out images class by class, after ``throughput train``, ``evaluate`` and ``infer``."""
    runtime: Runtime | None = None
    """What computed the answers in ``throughput infer``; ``train`` is loader and model together there."""
    parity: Parity | None = None
    """Of these answers with the same model's in torch, for the same images through the same loader."""
    timeline: Timeline | None = None
    ranks: tuple[RankShare, ...] = ()
    """Each of several processes, in their order; empty where it was one. What is told of batches is then of
    the slowest, and images are those of all."""
    warnings: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Measured, counted right, and not known to do other work."""
        return (
            self.status == "ok"
            and (self.certificate is None or self.certificate.comparable is not False)
            and (self.ledger is None or self.ledger.exact)
        )

    @property
    def bad_samples(self) -> tuple[BadSample, ...]:
        """Samples that could not be read or decoded, and were left out or replaced."""
        ledgers = (self.ledger, self.held_out_ledger)
        return tuple(one for ledger in ledgers if ledger is not None for one in ledger.bad_samples)

    @property
    def share_of_ceiling(self) -> float | None:
        """Training rate over the model's own rate, 0..1 and, by noise, a little above; None over 0."""
        if self.train is None or self.model is None:
            return None
        ceiling = self.model.images_per_second.median
        return self.train.images_per_second.median / ceiling if ceiling else None


@dataclass(frozen=True)
class Results:
    """One run of the bench: what it was, where it ran, a row for each loader, and how these compare.

    created: when, in ISO 8601, UTC. command: as it was given. environment: the machine, its libraries and the
    commit. work: what was measured; runs are compared where it is equal.
    gate: what ``throughput gate`` decided, test by test; the rows are those of the base and of the head then.
    """

    created: str
    command: str
    environment: dict[str, Any]
    work: dict[str, Any]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    gate: tuple[GateDecision, ...] = ()

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
            "gate": [asdict(one) for one in self.gate],
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
        "held_out_ledger": _ledger(row.held_out_ledger),
        "faults": [asdict(one) for one in row.bad_samples],
        "certificate": None if row.certificate is None else asdict(row.certificate),
        "verdict": None if row.verdict is None else asdict(row.verdict),
        "stages": row.stages,
        "load_cpu_utilisation": row.load_cpu_utilisation,
        "model_cpu_utilisation": row.model_cpu_utilisation,
        "cache": None if row.cache is None else _cache(row.cache),
        "remote": None if row.remote is None else _remote(row.remote),
        "training": None if row.training is None else row.training.to_json(),
        "evaluation": None if row.evaluation is None else row.evaluation.to_json(),
        "provider": None if row.runtime is None else row.runtime.provider,
        "runtime": None if row.runtime is None else row.runtime.to_json(),
        "latency_ms": None if row.model is None else row.model.latency_ms,
        "parity": None if row.parity is None else row.parity.to_json(),
        "timeline": None if row.timeline is None else asdict(row.timeline),
        "ranks": [asdict(one) for one in row.ranks],
        "warnings": list(row.warnings),
    }


def _cache(cache: CacheEvidence) -> dict[str, Any]:
    return asdict(cache) | {
        "fetch_stall_fraction": cache.fetch_stall_fraction,
        "preparation_stall_fraction": cache.preparation_stall_fraction,
    }


def _remote(remote: RemoteReading) -> dict[str, Any]:
    return asdict(remote) | {"megabytes_per_second": remote.megabytes_per_second}


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
                "batch_step_seconds": [round(step, 7) for step in one.batch_step_seconds],
                "batch_begin_seconds": [round(begin, 7) for begin in one.batch_begin_seconds],
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
        "mislabelled": ledger.mislabelled,
        "exact": ledger.exact,
        "bad_samples": [asdict(one) for one in ledger.bad_samples],
        "epochs": [vars(epoch) for epoch in ledger.epochs],
    }
