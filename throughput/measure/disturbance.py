"""What casts doubt on a measurement from outside: other load, swapping, throttling, clocks; uneven passes.

Two snapshots of the machine, one on each side of what is measured, tell the first; the passes tell the rest.
Every warning carries its figures and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator

from throughput.measure.snapshot import Snapshot, take_snapshot
from throughput.measure.trend import steady_trend
from throughput.results import Phase

__all__ = ["Snapshot", "disturbances", "take_snapshot", "unsteady"]

SUSPECT_SHARE_OF_CORES = 0.1
"""Of the usable cores' time, what others may take before it is remarked on."""
SUSPECT_STOLEN = 0.05
"""Share of the cores' time that the hypervisor may keep: a little is usual on any shared host."""
SUSPECT_THROTTLED = 0.01
SUSPECT_SWAPPED_BYTES = 1_000_000
SUSPECT_CLOCK_DROP = 0.1
SUSPECT_CLOCK_STEP = 0.001
SUSPECT_CLOCK_STEP_SECONDS = 0.05
"""A wall clock is remarked on that moved by more than this and by more than that share of the time."""
SHORTEST_SNAPSHOTS_SECONDS = 0.1
"""CPU time is counted in ticks of 10 ms: between closer snapshots it says nothing."""

SHORTEST_PASS_SECONDS = 0.5
FEWEST_BATCHES = 5
SUSPECT_SPREAD = 0.2
"""Passes that differ by more than this share of their median are remarked on."""


def disturbances(before: Snapshot, after: Snapshot, own_cpu_seconds: float, cores: int) -> tuple[str, ...]:
    """What disturbed the time between two snapshots, in words.

    own_cpu_seconds: CPU time that the measured processes and the harness used in it. cores: how many cores
    these may keep busy, affinity and quota considered (``environment.usable_cores``).
    """
    if after.time_seconds - before.time_seconds < SHORTEST_SNAPSHOTS_SECONDS:
        return ()
    return (
        *_other_load(before, after, own_cpu_seconds, cores),
        *_stolen(before, after),
        *_throttled(before, after, cores),
        *_swapped(before, after),
        *_slower_clock(before, after),
        *_stepped_clock(before, after),
    )


def unsteady(phase: Phase, name: str) -> tuple[str, ...]:
    """What casts doubt on a phase's passes, in words that begin with ``name``."""
    return tuple(f"{name}: {words}" for words in (*_too_short(phase), *_uneven(phase)))


def _other_load(before: Snapshot, after: Snapshot, own_cpu_seconds: float, cores: int) -> Iterator[str]:
    busy_seconds = _grown(before.busy_seconds, after.busy_seconds)
    others = (busy_seconds - own_cpu_seconds) / (after.time_seconds - before.time_seconds)
    # Under a quota there may be cores to spare: what others take beyond these is missing.
    taken = others - (after.cores - cores)
    if taken > SUSPECT_SHARE_OF_CORES * cores:
        yield (
            f"other processes kept {others:.1f} of {after.cores} cores busy meanwhile: "
            "stop what else runs on this machine"
        )


def _stolen(before: Snapshot, after: Snapshot) -> Iterator[str]:
    stolen_seconds = _grown(before.stolen_seconds, after.stolen_seconds)
    share = stolen_seconds / (after.time_seconds - before.time_seconds) / after.cores
    if share > SUSPECT_STOLEN:
        yield (
            f"the hypervisor took {100 * share:.0f} % of the cores' time for other machines (steal): "
            "measure on a machine that is not shared, or raise --repeats"
        )


def _throttled(before: Snapshot, after: Snapshot, cores: int) -> Iterator[str]:
    throttled_seconds = _grown(before.throttled_seconds, after.throttled_seconds)
    if throttled_seconds > SUSPECT_THROTTLED * cores * (after.time_seconds - before.time_seconds):
        yield (
            f"the cgroup's CPU quota stopped threads for {throttled_seconds:.1f} s of CPU time: "
            f"lower --workers, set OMP_NUM_THREADS={cores}, or raise the container's quota"
        )


def _swapped(before: Snapshot, after: Snapshot) -> Iterator[str]:
    swapped_bytes = _grown(before.swapped_bytes, after.swapped_bytes)
    if swapped_bytes > SUSPECT_SWAPPED_BYTES:
        yield (
            f"the machine swapped {swapped_bytes / 1e6:,.0f} MB meanwhile: "
            "free memory, or lower --workers or --batch"
        )


def _slower_clock(before: Snapshot, after: Snapshot) -> Iterator[str]:
    if before.clock_hertz is None or after.clock_hertz is None:
        return
    # Many busy cores clock lower than a single one: from turbo down to the base clock is as it should be.
    expected_hertz = min(before.clock_hertz, before.base_clock_hertz or before.clock_hertz)
    if after.clock_hertz < (1 - SUSPECT_CLOCK_DROP) * expected_hertz:
        yield (
            f"the cores' clock fell from {before.clock_hertz / 1e9:.2f} to {after.clock_hertz / 1e9:.2f} GHz "
            "(hot, or saving power): cool the machine, choose the performance governor, or let it rest"
        )


def _stepped_clock(before: Snapshot, after: Snapshot) -> Iterator[str]:
    moved_seconds = after.wall_seconds - before.wall_seconds
    span_seconds = after.time_seconds - before.time_seconds
    if abs(moved_seconds) > max(SUSPECT_CLOCK_STEP_SECONDS, SUSPECT_CLOCK_STEP * span_seconds):
        yield (
            f"the wall clock moved by {1e3 * moved_seconds:+,.0f} ms against the monotonic one: "
            "the clock was set, or the machine slept or was moved; measure again"
        )


def _too_short(phase: Phase) -> Iterator[str]:
    shortest_seconds = min(one.seconds for one in phase.passes)
    # A pass without waits does not tell how many batches it had.
    fewest = min(
        (len(one.batch_wait_seconds) for one in phase.passes if one.batch_wait_seconds), default=None
    )
    facts = []
    if shortest_seconds < SHORTEST_PASS_SECONDS:
        facts.append(f"took {shortest_seconds:.2g} s")
    if fewest is not None and fewest < FEWEST_BATCHES:
        facts.append(f"held {fewest} {'batch' if fewest == 1 else 'batches'}")
    if facts:
        yield f"a pass {' and '.join(facts)}, too little to trust: raise --seconds (or --steps, if it is set)"


def _uneven(phase: Phase) -> Iterator[str]:
    rates, median = phase.rates, phase.images_per_second.median
    trend = steady_trend(rates)
    first, last = f"{rates[0]:,.0f}", f"{rates[-1]:,.0f}"
    if trend == "falling":
        yield (
            f"the passes fall steadily from {first} to {last} images/s: the machine slows down "
            "(heat, a shared disk): let it rest, or raise --repeats"
        )
    elif trend == "rising":
        yield (
            f"the passes rise steadily from {first} to {last} images/s: something was still warming up "
            "(the page cache, clocks, another job that ended): measure again, or raise --seconds"
        )
    elif max(rates) - min(rates) > SUSPECT_SPREAD * median > 0:
        yield (
            f"the passes differ by {100 * (max(rates) - min(rates)) / median:.0f} % "
            f"({min(rates):,.0f} to {max(rates):,.0f} images/s): free the machine, or raise --seconds"
        )


def _grown(before: float | None, after: float | None) -> float:
    """The growth of a counter; 0 where it is not told."""
    return 0.0 if before is None or after is None else max(0.0, after - before)
