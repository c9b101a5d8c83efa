"""The figures of a run for other programs: flat, each by a name that tells its unit."""

from __future__ import annotations

import math
from typing import Any

from throughput.measure.plan import PHASES
from throughput.reports.cells import share_of_ceiling
from throughput.results import Phase, PhaseName, Results, Row

_OF_WORK = ("batch_size", "image_size", "workers", "model", "compute_dtype", "device")

Figures = dict[str, Any]
"""Name -> text, number, truth; None where it was not measured or does not apply."""


def known(figures: Figures) -> Figures:
    """Those that were measured and, if they are numbers, are finite."""
    return {
        name: value
        for name, value in figures.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def run_figures(results: Results) -> Figures:
    """When a run was made, of what, and with what."""
    work = results.work
    return {
        "created": results.created,
        "test": work.get("test"),
        "source": work.get("source"),
        **{name: work.get(name) for name in _OF_WORK},
        "cpu_model": results.environment.get("cpu_model"),
        "git_commit": results.environment.get("git_commit"),
    }


def row_figures(row: Row) -> Figures:
    """What is told of a row as a whole. Utilisations are shares of 1, of the cores and of the GPU's time."""
    return {
        "loader": row.loader,
        "status": row.status,
        "reason": row.reason,
        "decode": row.decode,
        "provider": None if row.runtime is None else row.runtime.provider,
        "share_of_ceiling": share_of_ceiling(row),
        "gpu_utilisation": row.gpu_utilisation,
        "peak_rss_bytes": row.peak_rss_bytes,
        "gpu_memory_bytes": row.gpu_memory_bytes,
        "accuracy": row.accuracy,
        "comparable": None if row.certificate is None else row.certificate.comparable,
        "ledger_exact": None if row.ledger is None else row.ledger.exact,
        "bottleneck": None if row.verdict is None else row.verdict.bottleneck,
    }


def phases(row: Row) -> dict[PhaseName, Phase]:
    """Those that were measured, in the order in which they are told."""
    found = {name: getattr(row, name) for name in PHASES}
    return {name: phase for name, phase in found.items() if phase is not None}


def phase_figures(row: Row, name: PhaseName, phase: Phase) -> Figures:
    """What is told of one phase of a row. low, high: of the 95 % interval of several passes."""
    rate, waits, latency = phase.images_per_second, phase.wait_ms or {}, phase.latency_ms or {}
    utilisation = {
        "load": row.load_cpu_utilisation,
        "model": row.model_cpu_utilisation,
        "train": row.cpu_utilisation,
    }
    return {
        "passes": len(phase.passes),
        "images_per_second": rate.median,
        "images_per_second_low": rate.low,
        "images_per_second_high": rate.high,
        "wait_fraction": phase.wait_fraction,
        "wait_p50_ms": waits.get("p50"),
        "wait_p99_ms": waits.get("p99"),
        "latency_p50_ms": latency.get("p50"),
        "latency_p99_ms": latency.get("p99"),
        "first_batch_seconds": phase.first_batch_seconds,
        "epoch_gap_seconds": phase.epoch_gap_seconds,
        "cpu_utilisation": utilisation[name],
    }


def seconds(row: Row) -> float:
    """How long all passes of a row took together."""
    return sum(one.seconds for phase in phases(row).values() for one in phase.passes)
