"""The blocks of one loader become its row."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from throughput.measure.disturbance import unsteady
from throughput.measured import each_once
from throughput.ranks.merging import merge_remote, merge_shares
from throughput.results import CacheEvidence, LedgerCount, Phase, Row, Timeline

SUSPECT_EXCESS = 0.05
"""Training may come out above the model's own rate by noise; by more than this is remarked on."""

Number = TypeVar("Number", int, float)


def merge(blocks: Sequence[Row]) -> Row:
    """The row of a loader's blocks, in the order of their rounds; the first that is not ok decides."""
    for number, block in enumerate(blocks):
        if block.status != "ok":
            reason = block.reason if number == 0 else f"in round {number + 1}: {block.reason}"
            return replace(block, reason=reason)
    first, last = blocks[0], blocks[-1]
    row = replace(
        last,
        prepare=first.prepare,
        load=_phase([block.load for block in blocks]),
        model=_phase([block.model for block in blocks]),
        train=_phase([block.train for block in blocks]),
        cpu_utilisation=_mean(block.cpu_utilisation for block in blocks),
        load_cpu_utilisation=_mean(block.load_cpu_utilisation for block in blocks),
        model_cpu_utilisation=_mean(block.model_cpu_utilisation for block in blocks),
        gpu_utilisation=_mean(block.gpu_utilisation for block in blocks),
        jpeg_utilisation=_mean(block.jpeg_utilisation for block in blocks),
        peak_rss_bytes=_each(max, (block.peak_rss_bytes for block in blocks)),
        gpu_memory_bytes=_each(max, (block.gpu_memory_bytes for block in blocks)),
        energy_joules=_each(sum, (block.energy_joules for block in blocks)),
        ledger=_ledger(blocks),
        timeline=_timeline(blocks),
        ranks=merge_shares([block.ranks for block in blocks]),
        remote=merge_remote(blocks, at_once=False),
    )
    row = replace(row, cache=_cache(blocks, row.model))
    return replace(row, warnings=(*_told_by_blocks(blocks), *_warnings(row)))


def _told_by_blocks(blocks: Sequence[Row]) -> Iterator[str]:
    """What blocks remarked on; a remark that comes again with other figures is told once, with its rounds."""
    alike: dict[str, list[str]] = {}
    for block in blocks:
        for warning in block.warnings:
            alike.setdefault(re.sub(r"[\d.,]+", "0", warning), []).append(warning)
    for warnings in alike.values():
        again = f" (in {len(warnings)} of {len(blocks)} rounds)" if len(blocks) > 1 else ""
        yield max(warnings, key=_figures) + again


def _figures(warning: str) -> list[float]:
    """The numbers in a text, to tell the worst of several that differ in them alone."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", warning.replace(",", ""))]


def _phase(phases: Sequence[Phase | None]) -> Phase | None:
    """All passes; of what is measured once in a block, the median."""
    there = [phase for phase in phases if phase is not None]
    if not there:
        return None
    return Phase(
        tuple(one for phase in there for one in phase.passes),
        _each(statistics.median, (phase.first_batch_seconds for phase in there)),
        _each(statistics.median, (phase.epoch_gap_seconds for phase in there)),
    )


def _ledger(blocks: Sequence[Row]) -> LedgerCount | None:
    ledgers = [block.ledger for block in blocks if block.ledger is not None]
    epochs = tuple(epoch for ledger in ledgers for epoch in ledger.epochs)
    if not epochs:
        return None
    mislabelled = sum(ledger.mislabelled for ledger in ledgers)
    bad = each_once(one for ledger in ledgers for one in ledger.bad_samples)
    return LedgerCount(epochs, mislabelled, bad)


def _timeline(blocks: Sequence[Row]) -> Timeline | None:
    there = [block.timeline for block in blocks if block.timeline is not None]
    if not there:
        return None
    return Timeline(
        tuple(window for timeline in there for window in timeline.windows),
        tuple(moment for timeline in there for moment in timeline.usage),
    )


def _cache(blocks: Sequence[Row], model: Phase | None) -> CacheEvidence | None:
    proofs = [block.cache for block in blocks if block.cache is not None]
    if not proofs:
        return None
    cold = proofs[0].mode == "cold"
    resident = [proof.resident_before for proof in proofs]
    images = _each(sum, (proof.images for proof in proofs))
    return replace(
        proofs[0],
        resident_before=max(resident) if cold else min(resident),
        bytes_read=sum(proof.bytes_read for proof in proofs),
        bytes_delivered=sum(proof.bytes_delivered for proof in proofs),
        images=images,
        cold_seconds=_each(sum, (proof.cold_seconds for proof in proofs)),
        warm_seconds=_each(sum, (proof.warm_seconds for proof in proofs)),
        startup_seconds=_each(sum, (proof.startup_seconds for proof in proofs)),
        replayed_seconds=images / model.images_per_second.median
        if images and model and proofs[0].phase == "train"
        else None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    return _each(statistics.fmean, values)


def _each(what: Callable[[list[Number]], Number], values: Iterable[Number | None]) -> Number | None:
    """``what`` of the values that were measurable; None where none was."""
    known = [value for value in values if value is not None]
    return what(known) if known else None


def _warnings(row: Row) -> tuple[str, ...]:
    """What casts doubt on a row that was measured."""
    warnings = []
    if row.loss is not None and not math.isfinite(row.loss):
        warnings.append(f"the loss became {row.loss}: the model did not learn, try --precision fp32")
    both = "training" if row.runtime is None else "both together"
    for name, phase in (("alone", row.load), ("model", row.model), (both, row.train)):
        if phase is not None:
            warnings += unsteady(phase, name)
    if row.train is not None and row.load is not None:
        train, load = (phase.images_per_second.median for phase in (row.train, row.load))
        if train > load * (1 + SUSPECT_EXCESS):
            warnings.append(
                f"{both} came out at {100 * train / load:.0f} % of the loader alone, which cannot be: "
                "the machine was busy in between; free it, or raise --seconds"
            )
    share = row.share_of_ceiling
    if share is not None and share > 1 + SUSPECT_EXCESS:
        warnings.append(
            f"{both} came out at {100 * share:.0f} % of the model alone, which cannot be: "
            "the machine was busy in between; free it, or raise --seconds"
        )
    return tuple(warnings)
