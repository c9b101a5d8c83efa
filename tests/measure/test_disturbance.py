"""Each disturbance is told with its figures and its cure, and a quiet machine is not remarked on."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from throughput.measure.disturbance import Snapshot, disturbances, take_snapshot, unsteady
from throughput.measure.processes import ProcessTree
from throughput.results import Pass, Phase

BURN = "import time\nwhile time.process_time() < 0.4: pass"

BEFORE = Snapshot(
    time_seconds=100.0,
    cores=8,
    busy_seconds=5000.0,
    stolen_seconds=30.0,
    swapped_bytes=70_000_000,
    throttled_seconds=2.0,
    clock_hertz=3.7e9,
    base_clock_hertz=None,
    wall_seconds=1.7e9,
)


def after(seconds: float = 10.0, **growth: float) -> Snapshot:
    """The machine ``seconds`` later, in which 40 s of CPU time were used and whatever else is said."""
    changed: dict[str, Any] = {"busy_seconds": BEFORE.busy_seconds + 40.0}  # type: ignore[operator] # it is told
    changed |= {name: getattr(BEFORE, name) + amount for name, amount in growth.items()}
    return replace(BEFORE, time_seconds=BEFORE.time_seconds + seconds, **changed)


def told(later: Snapshot, before: Snapshot = BEFORE, own_cpu_seconds: float = 40.0, cores: int = 8) -> str:
    """The one thing that is remarked on; empty where nothing is."""
    found = disturbances(before, later, own_cpu_seconds, cores)
    assert len(found) <= 1
    return found[0] if found else ""


def test_a_quiet_machine() -> None:
    assert told(after()) == ""


def test_just_below_every_limit() -> None:
    later = after(
        busy_seconds=40.0 + 7.9,
        stolen_seconds=3.9,
        throttled_seconds=0.79,
        swapped_bytes=999_000,
        clock_hertz=-0.36e9,
        wall_seconds=-0.049,
    )
    assert told(later) == ""


@pytest.mark.parametrize(
    ("growth", "words"),
    [
        ({"busy_seconds": 61.0}, "other processes kept 2.1 of 8 cores busy meanwhile: stop what else runs"),
        ({"stolen_seconds": 8.0}, "the hypervisor took 10 % of the cores' time"),
        (
            {"throttled_seconds": 3.5},
            "the cgroup's CPU quota stopped threads for 3.5 s of CPU time: "
            "lower --workers, set OMP_NUM_THREADS=8, or raise the container's quota",
        ),
        ({"swapped_bytes": 250e6}, "swapped 250 MB meanwhile: free memory, or lower --workers or --batch"),
        ({"clock_hertz": -0.8e9}, "the cores' clock fell from 3.70 to 2.90 GHz"),
        ({"wall_seconds": 0.06}, "the wall clock moved by +60 ms against the monotonic one"),
        ({"wall_seconds": -3600.0}, "the wall clock moved by -3,600,000 ms"),
    ],
)
def test_each_disturbance_is_told(growth: dict[str, float], words: str) -> None:
    assert words in told(after(**growth))


def test_all_at_once() -> None:
    later = after(busy_seconds=70.0, stolen_seconds=9.0, throttled_seconds=9.0, swapped_bytes=9e9)
    assert len(disturbances(BEFORE, later, 40.0, 8)) == 4


def test_cores_beyond_a_quota_are_free_for_others() -> None:
    # Of 8 cores a quota leaves 2 to us, so 6 may be busy with something else.
    assert told(after(busy_seconds=20.0 + 60.0), own_cpu_seconds=20.0, cores=2) == ""
    assert "6.5 of 8 cores" in told(after(busy_seconds=20.0 + 65.0), own_cpu_seconds=20.0, cores=2)


def test_from_turbo_to_the_base_clock_is_no_drop() -> None:
    before = replace(BEFORE, base_clock_hertz=2.5e9)
    assert told(replace(after(), clock_hertz=2.4e9), before) == ""
    assert "from 3.70 to 2.00 GHz" in told(replace(after(), clock_hertz=2.0e9), before)


def test_a_long_measurement_may_drift_by_a_thousandth() -> None:
    assert told(replace(after(200.0, wall_seconds=0.19), busy_seconds=5040.0)) == ""
    assert "+210 ms" in told(replace(after(200.0, wall_seconds=0.21), busy_seconds=5040.0))


def test_what_a_machine_does_not_tell_is_no_disturbance() -> None:
    silent = replace(
        BEFORE,
        busy_seconds=None,
        stolen_seconds=None,
        swapped_bytes=None,
        throttled_seconds=None,
        clock_hertz=None,
    )
    assert told(replace(silent, time_seconds=110.0), silent) == ""


def test_snapshots_too_close_to_each_other_say_nothing() -> None:
    assert told(after(0.05, busy_seconds=0.4)) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_a_real_neighbour_is_noticed_and_a_worker_of_our_own_is_not() -> None:
    tree = ProcessTree(os.getpid())
    # As on a machine of one core, however many there are: one neighbour is then much.
    before, own_before = replace(take_snapshot(), cores=1), tree()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    later, own_later = replace(take_snapshot(), cores=1), tree()
    assert own_before is not None
    assert own_later is not None
    own_cpu_seconds = own_later.cpu_seconds - own_before.cpu_seconds
    assert own_cpu_seconds >= 0.39
    [neighbour] = (words for words in disturbances(before, later, 0.0, 1) if "other processes" in words)
    assert "of 1 cores busy meanwhile" in neighbour
    # Others may really run meanwhile: of these only as much is told as there is.
    quiet = replace(later, busy_seconds=(before.busy_seconds or 0.0) + own_cpu_seconds)
    assert not any("other processes" in words for words in disturbances(before, quiet, own_cpu_seconds, 1))


def phase(*rates: float, seconds: float = 1.0, batches: int = 10) -> Phase:
    waits = (0.001,) * batches
    return Phase(tuple(Pass(round(rate * seconds), seconds, sum(waits), waits) for rate in rates))


def test_steady_passes() -> None:
    assert unsteady(phase(100, 105, 95), "alone") == ()
    assert unsteady(phase(100), "alone") == ()
    assert unsteady(phase(0, 0, 0), "alone") == ()


def test_passes_that_differ() -> None:
    [words] = unsteady(phase(145, 170, 206, 150), "training")
    assert words == (
        "training: the passes differ by 38 % (145 to 206 images/s): free the machine, or raise --seconds"
    )


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (phase(100, 100, seconds=0.25), "took 0.25 s, too little"),
        (phase(100, 100, batches=4), "held 4 batches, too little"),
        (phase(100, seconds=0.1, batches=1), "took 0.1 s and held 1 batch, too little"),
    ],
)
def test_passes_too_short_to_trust(measured: Phase, words: str) -> None:
    [found] = unsteady(measured, "model")
    assert found.startswith(f"model: a pass {words} to trust: raise --seconds (or --steps")


def test_one_short_pass_is_enough() -> None:
    mixed = Phase((*phase(100, 100).passes, *phase(100, seconds=0.3).passes))
    assert "took 0.3 s" in unsteady(mixed, "alone")[0]


def test_passes_that_do_not_tell_their_batches() -> None:
    assert unsteady(phase(100, 100, batches=0), "alone") == ()


def test_passes_that_drift() -> None:
    [falling] = unsteady(phase(1200, 1150, 1100, 1000), "alone")
    assert falling.startswith("alone: the passes fall steadily from 1,200 to 1,000 images/s")
    assert "let it rest, or raise --repeats" in falling
    [rising] = unsteady(phase(1000, 1100, 1150, 1500), "alone")
    assert rising.startswith("alone: the passes rise steadily from 1,000 to 1,500 images/s")
