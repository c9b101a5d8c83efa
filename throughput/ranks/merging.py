"""What each rank measured, as one measurement: all images, over the time that the longest took."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from throughput.results import Pass, Phase, PhaseName, RankShare, RemoteReading, Row

SLOW = 0.1
"""A rank that is slower than the median by more than this share is remarked on."""

Number = TypeVar("Number", int, float)


def merge_passes(passes: Sequence[Pass], *, in_step: bool) -> Pass:
    """The same pass of all ranks. What it tells of batches is of the slowest rank.

    in_step: they took their steps together, so that the one that waited longest for its batches was slowest;
    else it is the one with the lowest rate.
    """
    if len(passes) == 1:
        return passes[0]
    slowest = passes[slowest_of(passes, in_step=in_step)]
    return replace(
        slowest, images=sum(one.images for one in passes), seconds=max(one.seconds for one in passes)
    )


def slowest_of(passes: Sequence[Pass], *, in_step: bool) -> int:
    """Its place."""

    def slowness(place: int) -> float:
        one = passes[place]
        return one.wait_seconds / one.seconds if in_step else -one.images / one.seconds

    return max(range(len(passes)), key=slowness)


def merge_epoch(told: Sequence[tuple[Pass, float]]) -> tuple[Pass, float]:
    """An epoch's pass and its mean loss over all images, of each rank's."""
    if len(told) == 1:
        return told[0]
    images = [one.images for one, _ in told]
    # The mean over no images is no number.
    losses = [loss * count for (_, loss), count in zip(told, images, strict=True) if count]
    loss = sum(losses) / max(1, sum(images))
    return merge_passes([one for one, _ in told], in_step=True), loss


def merge_rows(rows: Sequence[Row], hosts: Sequence[str]) -> Row:
    """One row of all ranks' rows of the same block, none of which failed; ledgers are one already."""
    first = rows[0]
    phases: list[PhaseName] = ["load", "model", "train"]
    merged = {name: _phase([getattr(row, name) for row in rows], in_step=name != "load") for name in phases}
    row = replace(
        first,
        load=merged["load"],
        model=merged["model"],
        train=merged["train"],
        train_images=_each(sum, (row.train_images for row in rows)),
        loss=_each(statistics.fmean, (row.loss for row in rows)),
        stages={
            stage: statistics.fmean(row.stages[stage] for row in rows if stage in row.stages)
            for stage in first.stages
        },
        remote=merge_remote(rows, at_once=True),
        ranks=rank_shares(rows, hosts),
        warnings=_warnings(rows),
    )
    row = with_usage(row, rows)
    return replace(row, warnings=(*row.warnings, *stragglers(row.ranks)))


def with_usage(row: Row, rows: Sequence[Row]) -> Row:
    """What all ranks used: of utilisation the mean, each of its share of the cores or of its GPU."""
    return replace(
        row,
        cpu_utilisation=_each(statistics.fmean, (row.cpu_utilisation for row in rows)),
        load_cpu_utilisation=_each(statistics.fmean, (row.load_cpu_utilisation for row in rows)),
        model_cpu_utilisation=_each(statistics.fmean, (row.model_cpu_utilisation for row in rows)),
        gpu_utilisation=_each(statistics.fmean, (row.gpu_utilisation for row in rows)),
        jpeg_utilisation=_each(statistics.fmean, (row.jpeg_utilisation for row in rows)),
        peak_rss_bytes=_each(sum, (row.peak_rss_bytes for row in rows)),
        gpu_memory_bytes=_each(sum, (row.gpu_memory_bytes for row in rows)),
        energy_joules=_each(sum, (row.energy_joules for row in rows)),
    )


def merge_remote(rows: Sequence[Row], *, at_once: bool) -> RemoteReading | None:
    """What was read from servers in all blocks, one after the other, or by all ranks at once."""
    readings = [row.remote for row in rows if row.remote is not None]
    if not readings:
        return None
    summed = ("bytes_read", "requests", "retries", "cache_hits")
    # Ranks share their network: its rate is that of all of them, over the time that the longest took.
    seconds = (max if at_once else sum)(one.seconds for one in readings)
    return replace(
        readings[0], seconds=seconds, **{name: sum(getattr(one, name) for one in readings) for name in summed}
    )


def rank_shares(rows: Sequence[Row], hosts: Sequence[str]) -> tuple[RankShare, ...]:
    """Of each rank what it did, in training if it was measured."""
    found = []
    for rank, (row, host) in enumerate(zip(rows, hosts, strict=True)):
        phase = row.train or row.load or row.model
        assert phase is not None, "some phase was measured"
        found.append(share_of(rank, host, phase, row.load))
    return tuple(found)


def share_of(rank: int, host: str, phase: Phase, load: Phase | None = None) -> RankShare:
    """A rank's, by its own passes."""
    seconds = sum(one.seconds for one in phase.passes)
    return RankShare(
        rank,
        host,
        images_per_second=sum(one.images for one in phase.passes) / seconds,
        wait_fraction=phase.wait_fraction,
        seconds=seconds,
        load_images_per_second=None if load is None else load.images_per_second.median,
    )


def merge_shares(blocks: Sequence[Sequence[RankShare]]) -> tuple[RankShare, ...]:
    """The same ranks' shares of several blocks; times weigh as long as they are."""
    found = []
    for same in zip(*(block for block in blocks if block), strict=True):
        seconds = sum(one.seconds for one in same)
        found.append(
            replace(
                same[0],
                images_per_second=sum(one.images_per_second * one.seconds for one in same) / seconds,
                wait_fraction=sum(one.wait_fraction * one.seconds for one in same) / seconds,
                seconds=seconds,
                load_images_per_second=_each(statistics.median, (one.load_images_per_second for one in same)),
            )
        )
    return tuple(found)


def slowest_share(ranks: Sequence[RankShare]) -> RankShare:
    """By its loader alone; else by how long it waited for it, and then by its rate."""

    def slowness(one: RankShare) -> tuple[float, float, float]:
        return -(one.load_images_per_second or 0.0), one.wait_fraction, -one.images_per_second

    return max(ranks, key=slowness)


def stragglers(ranks: Sequence[RankShare]) -> tuple[str, ...]:
    """A remark on each rank that is slower than it should be beside the others; none where there is one."""
    if not ranks:
        return ()
    found = []
    alone = [one.load_images_per_second for one in ranks if one.load_images_per_second is not None]
    usual = statistics.median(alone) if alone else None
    usual_wait = statistics.median(one.wait_fraction for one in ranks)
    for one in ranks:
        rate = one.load_images_per_second
        if usual is not None and rate is not None and rate < (1 - SLOW) * usual:
            found.append(
                f"rank {one.rank} on {one.host} is a straggler: its loader alone reaches {rate:,.0f} "
                f"images/s, {100 * (1 - rate / usual):.0f} % below the median of the ranks, and in training "
                "all wait for it: look at what else runs there, at its disk and at its cores"
            )
        elif usual is None and one.wait_fraction > usual_wait + SLOW:
            found.append(
                f"rank {one.rank} on {one.host} is a straggler: it waits for its batches "
                f"{100 * one.wait_fraction:.0f} % of the time, and the median of the ranks "
                f"{100 * usual_wait:.0f} %; all wait for it: look at what else runs there, and at its disk"
            )
    return tuple(found)


def _phase(phases: Sequence[Phase | None], *, in_step: bool) -> Phase | None:
    there = [phase for phase in phases if phase is not None]
    if not there:
        return None
    return Phase(
        tuple(
            merge_passes(same, in_step=in_step) for same in zip(*(one.passes for one in there), strict=True)
        ),
        _each(max, (phase.first_batch_seconds for phase in there)),
        _each(max, (phase.epoch_gap_seconds for phase in there)),
    )


def _warnings(rows: Sequence[Row]) -> tuple[str, ...]:
    """What any rank remarked on, each once."""
    return tuple(dict.fromkeys(warning for row in rows for warning in row.warnings))


def _each(what: Callable[[list[Number]], Number], values: Iterable[Number | None]) -> Number | None:
    """``what`` of the values that were measurable; None where none was."""
    known = [value for value in values if value is not None]
    return what(known) if known else None
