"""What a machine tells is read; what it does not tell is None."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from throughput.measure.processes import PAGE_BYTES, SECONDS_PER_TICK
from throughput.measure.snapshot import take_snapshot


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Folders of a machine that tells nothing yet, on which this process may run on cores 1 and 3."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3}, raising=False)
    folders = {name: tmp_path / name for name in ("proc", "cpus", "cgroup_root")}
    for folder in folders.values():
        folder.mkdir()
    return folders | {"membership": tmp_path / "membership"}


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def cores(*numbers: int) -> str:
    """/proc/stat of cores whose user, nice, system and steal ticks are 1, 2, 3, 8 times 10**number."""
    lines = ["cpu 9 9 9 9 9 9 9 9 9 9"]
    for number in numbers:
        lines.append(f"cpu{number} " + " ".join(str(field * 10**number) for field in range(1, 11)))
    return "\n".join([*lines, "intr 1 2 3", "ctxt 99", ""])


def test_a_machine_that_tells_nothing(machine: dict[str, Path]) -> None:
    snapshot = take_snapshot(**machine)
    assert snapshot.cores == 2
    assert snapshot.busy_seconds is None
    assert snapshot.stolen_seconds is None
    assert snapshot.swapped_bytes is None
    assert snapshot.throttled_seconds is None
    assert snapshot.clock_hertz is None
    assert snapshot.base_clock_hertz is None


def test_time_of_the_usable_cores_without_interrupts(machine: dict[str, Path]) -> None:
    write(machine["proc"] / "stat", cores(0, 1, 2, 3))
    snapshot = take_snapshot(**machine)
    assert snapshot.cores == 2
    assert snapshot.busy_seconds == pytest.approx((1 + 2 + 3) * 1010 * SECONDS_PER_TICK)
    assert snapshot.stolen_seconds == pytest.approx(8 * 1010 * SECONDS_PER_TICK)


def test_a_container_that_numbers_its_cores_anew(machine: dict[str, Path]) -> None:
    write(machine["proc"] / "stat", cores(0, 1))
    snapshot = take_snapshot(**machine)
    assert snapshot.cores == 2
    assert snapshot.busy_seconds == pytest.approx(6 * 11 * SECONDS_PER_TICK)


def test_pages_swapped_both_ways(machine: dict[str, Path]) -> None:
    write(machine["proc"] / "vmstat", "pgpgin 5\npswpin 30\npswpout 12\nswap_ra 9\n")
    assert take_snapshot(**machine).swapped_bytes == 42 * PAGE_BYTES


@pytest.mark.parametrize(
    ("membership", "folder", "stat"),
    [
        ("0::/job\n", "job", "usage_usec 5\nnr_throttled 3\nthrottled_usec 2500000\n"),
        ("4:cpu,cpuacct:/job\n", "cpu/job", "nr_periods 9\nnr_throttled 3\nthrottled_time 2500000000\n"),
    ],
)
def test_throttling_by_cgroups_of_both_versions(
    machine: dict[str, Path], membership: str, folder: str, stat: str
) -> None:
    write(machine["membership"], membership)
    write(machine["cgroup_root"] / folder / "cpu.stat", stat)
    assert take_snapshot(**machine).throttled_seconds == pytest.approx(2.5)


def test_the_clock_of_the_fastest_core(machine: dict[str, Path]) -> None:
    for number, kilohertz in enumerate((800_000, 3_600_000, 1_200_000)):
        write(machine["cpus"] / f"cpufreq/policy{number}/scaling_cur_freq", f"{kilohertz}\n")
    assert take_snapshot(**machine).clock_hertz == pytest.approx(3.6e9)


@pytest.mark.parametrize(
    ("file", "text"),
    [("cpufreq/base_frequency", "2500000\n"), ("acpi_cppc/nominal_freq", "2500\n")],
)
def test_the_clock_without_turbo(machine: dict[str, Path], file: str, text: str) -> None:
    write(machine["cpus"] / "cpu0" / file, text)
    assert take_snapshot(**machine).base_clock_hertz == pytest.approx(2.5e9)


def test_this_machine() -> None:
    first, second = take_snapshot(), take_snapshot()
    assert second.time_seconds > first.time_seconds
    assert first.cores >= 1
    assert second.wall_seconds == pytest.approx(first.wall_seconds, abs=1)
    for name in ("busy_seconds", "stolen_seconds", "swapped_bytes", "throttled_seconds"):
        earlier, later = getattr(first, name), getattr(second, name)
        assert earlier is None or later >= earlier >= 0
