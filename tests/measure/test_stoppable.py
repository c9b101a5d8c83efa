"""Time in which a process stood still does not count by its clock, whenever the clock is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from throughput.measure.stoppable import RunningClock, StoodStill


@pytest.fixture
def stood_still(tmp_path: Path) -> StoodStill:
    return StoodStill(tmp_path / "clock")


def test_it_stands_still_with_the_process(stood_still: StoodStill, tmp_path: Path) -> None:
    now = iter([10.0, 11.0, 18.0, 30.0])
    clock = RunningClock(tmp_path / "clock", now.__next__)
    assert clock() == 10
    assert clock() == 11
    stood_still.add(6)
    assert clock() == 12
    stood_still.add(11.5)
    assert clock() == 12.5


def test_it_is_never_turned_back(stood_still: StoodStill, tmp_path: Path) -> None:
    now = iter([10.0, 12.0, 13.0])
    clock = RunningClock(tmp_path / "clock", now.__next__)
    assert clock() == 10
    stood_still.add(2.25)
    assert clock() == 10, "a little more was told than it stood still"
    assert clock() == 10.75


@pytest.mark.parametrize("place", [0, 1])
def test_a_stop_in_the_middle_of_a_reading(stood_still: StoodStill, tmp_path: Path, place: int) -> None:
    """The process is stopped for 5 s just before, or just after, the time is read."""

    def readings() -> Iterator[float]:
        yield 10.0
        if place == 0:
            stood_still.add(5)
            yield 16.0
        else:
            yield 11.0
        while True:
            yield 16.0

    now = readings()

    def read() -> float:
        value = next(now)
        if place == 1 and value == 11.0:
            stood_still.add(5)
        return value

    clock = RunningClock(tmp_path / "clock", read)
    assert clock() == 10
    assert clock() == 11


def test_a_process_has_a_file_of_its_own(stood_still: StoodStill, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        StoodStill(tmp_path / "clock")
    stood_still.add(1)
