"""What the whole machine has done so far, and how fast its clocks run."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from throughput.measure.environment import CGROUP_MEMBERSHIP, CGROUP_ROOT, cgroup_folders
from throughput.measure.processes import PAGE_BYTES, SECONDS_PER_TICK

PROC = Path("/proc")
CPUS = Path("/sys/devices/system/cpu")
_AWAKE_SECONDS = 0.02


@dataclass(frozen=True)
class Snapshot:
    """The machine at one moment; None where it does not tell. Counts run from its start: difference two.

    time_seconds: ``time.perf_counter``. cores: those that this process may run on, whose time the next two
    count. busy_seconds: CPU time of all processes; without interrupts, which serve the measured work too.
    stolen_seconds: CPU time that the hypervisor gave to others. swapped_bytes: to and from swap.
    throttled_seconds: CPU time for which the cgroups above this process were stopped by their quota.
    clock_hertz: of the fastest core. base_clock_hertz: what the processor promises without turbo.
    wall_seconds: wall clock less ``time_seconds``: changes when the clock is set or the machine sleeps.
    """

    time_seconds: float
    cores: int
    busy_seconds: float | None
    stolen_seconds: float | None
    swapped_bytes: int | None
    throttled_seconds: float | None
    clock_hertz: float | None
    base_clock_hertz: float | None
    wall_seconds: float


def take_snapshot(
    proc: Path = PROC,
    cpus: Path = CPUS,
    cgroup_root: Path = CGROUP_ROOT,
    membership: Path = CGROUP_MEMBERSHIP,
) -> Snapshot:
    """The machine now, in a millisecond, or 20 where its clock varies. Fails for nothing that it may lack."""
    cores, busy_seconds, stolen_seconds = _cpu_times(proc / "stat")
    return Snapshot(
        time_seconds=time.perf_counter(),
        cores=cores,
        busy_seconds=busy_seconds,
        stolen_seconds=stolen_seconds,
        swapped_bytes=_swapped_bytes(proc / "vmstat"),
        throttled_seconds=_throttled_seconds(cgroup_root, membership),
        clock_hertz=_clock_hertz(cpus),
        base_clock_hertz=_base_clock_hertz(cpus),
        wall_seconds=_wall_seconds(),
    )


def _cpu_times(stat: Path) -> tuple[int, float | None, float | None]:
    """Cores that this process may run on, and their busy and their stolen seconds (proc_stat(5))."""
    mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = [line.split() for line in _lines(stat) if line.startswith("cpu") and not line.startswith("cpu ")]
    # A container may show its own cores only, numbered in a way of its own.
    counted = lines if len(lines) == len(mine) else [line for line in lines if line[0] in mine]
    if not counted:
        return len(mine), None, None
    ticks = [[int(field) for field in line[1:]] for line in counted]
    busy = sum(user + nice + system for user, nice, system, *_ in ticks)
    stolen = sum(fields[7] for fields in ticks)
    return len(counted), busy * SECONDS_PER_TICK, stolen * SECONDS_PER_TICK


def _swapped_bytes(vmstat: Path) -> int | None:
    pages = [int(line.split()[1]) for line in _lines(vmstat) if line.startswith(("pswpin ", "pswpout "))]
    return sum(pages) * PAGE_BYTES if pages else None


def _throttled_seconds(cgroup_root: Path, membership: Path) -> float | None:
    """Of this process's cgroup and all above it: throttled_usec (version 2), throttled_time in ns (1)."""
    found = []
    for folder in cgroup_folders("cpu", cgroup_root, membership):
        for line in _lines(folder / "cpu.stat"):
            name, _, value = line.partition(" ")
            if name in ("throttled_usec", "throttled_time"):
                found.append(int(value) / (1e6 if name == "throttled_usec" else 1e9))
    return sum(found) if found else None


def _clock_hertz(cpus: Path) -> float | None:
    """The fastest core's clock (cpufreq, in kHz); None where it does not vary, as in virtual machines."""
    cores = sorted(cpus.glob("cpufreq/policy*/scaling_cur_freq"))
    if not cores:
        return None
    # A core that just woke up runs at its lowest clock: keep this one busy until its governor has seen it.
    awake = time.perf_counter() + _AWAKE_SECONDS
    while time.perf_counter() < awake:
        pass
    return max((1e3 * int(line) for core in cores for line in _lines(core)), default=None)


def _base_clock_hertz(cpus: Path) -> float | None:
    """What Intel's driver calls the base frequency (in kHz) and ACPI the nominal one (in MHz)."""
    for file, unit in (("cpufreq/base_frequency", 1e3), ("acpi_cppc/nominal_freq", 1e6)):
        for line in _lines(cpus / "cpu0" / file):
            return unit * int(line)
    return None


def _wall_seconds() -> float:
    """Wall clock less ``time.perf_counter``: the quickest of three readings, as others may come between."""
    readings = []
    for _ in range(3):
        begin = time.perf_counter()
        wall = time.time()
        end = time.perf_counter()
        readings.append((end - begin, wall - end))
    return min(readings)[1]


def _lines(file: Path) -> list[str]:
    """The lines of a file; none where it cannot be read."""
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
