"""CPU time of a tree whose processes come and go is counted once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from throughput.measure.processes import PAGE_BYTES, SECONDS_PER_TICK, ProcessTree

BURN = """
import sys, time
while time.process_time() < 0.1:
    pass
print("burnt", flush=True)
sys.stdin.read()
"""


class FakeProc:
    """A /proc of a few processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "meminfo").write_text("")

    def put(
        self, pid: int, parent: int, *, own: int = 0, children: int = 0, pages: int = 1, started: int = 7
    ) -> None:
        """Write a process's line; times are in ticks, half of them in the kernel."""
        before = ["S", parent, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        times = [own - own // 2, own // 2, children - children // 2, children // 2]
        fields = [*before, *times, 20, 0, 1, 0, started, 10**9, pages, 0, 0]
        (self.folder / str(pid)).mkdir(exist_ok=True)
        line = f"{pid} (a (name) 1 2) {' '.join(map(str, fields))}\n"
        (self.folder / str(pid) / "stat").write_text(line)

    def end(self, pid: int) -> None:
        shutil.rmtree(self.folder / str(pid))


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    fake = FakeProc(tmp_path)
    fake.put(1, 0, own=1000, pages=100)
    fake.put(10, 1, own=5)
    return fake


def ticks(tree: ProcessTree) -> float:
    reading = tree()
    assert reading is not None
    return round(reading.cpu_seconds / SECONDS_PER_TICK, 6)


def test_descendants_count_and_others_do_not(proc: FakeProc) -> None:
    proc.put(11, 10, own=20, pages=3)
    proc.put(12, 11, own=300, pages=4)
    proc.put(13, 1, own=9999, pages=99)
    reading = ProcessTree(10, proc.folder)()
    assert reading is not None
    assert reading.pids == {10, 11, 12}
    assert reading.cpu_seconds == pytest.approx(325 * SECONDS_PER_TICK)
    assert reading.rss_bytes == 8 * PAGE_BYTES


def test_a_worker_that_ends_keeps_its_time_counted_once(proc: FakeProc) -> None:
    tree = ProcessTree(10, proc.folder)
    proc.put(11, 10, own=40)
    assert ticks(tree) == 45
    proc.put(11, 10, own=60, pages=0)  # a zombie
    assert ticks(tree) == 65
    proc.end(11)
    proc.put(10, 1, own=5, children=60)
    assert ticks(tree) == 65


def test_a_worker_that_starts_later_joins(proc: FakeProc) -> None:
    tree = ProcessTree(10, proc.folder)
    assert ticks(tree) == 5
    proc.put(11, 1, own=1000)
    proc.put(12, 10, own=30)
    assert ticks(tree) == 35


def test_a_pid_that_is_used_again_is_looked_at_again(proc: FakeProc) -> None:
    tree = ProcessTree(10, proc.folder)
    proc.put(11, 1, own=1000)
    assert ticks(tree) == 5
    proc.end(11)
    assert ticks(tree) == 5
    proc.put(11, 10, own=30, started=9)
    assert ticks(tree) == 35


def test_a_child_with_a_lower_pid_than_its_parent_counts(proc: FakeProc) -> None:
    proc.put(9, 12, own=1)
    proc.put(12, 10, own=2)
    assert ticks(ProcessTree(10, proc.folder)) == 8


def test_a_child_whose_parent_was_not_yet_listed_is_looked_at_again(proc: FakeProc) -> None:
    tree = ProcessTree(10, proc.folder)
    proc.put(9, 12, own=1)
    assert ticks(tree) == 5
    proc.put(12, 10, own=2)
    assert ticks(tree) == 8


def test_gone_and_replaced_roots(proc: FakeProc) -> None:
    tree = ProcessTree(10, proc.folder)
    proc.put(10, 1, started=8)
    assert tree() is None
    proc.end(10)
    assert tree() is None
    assert ProcessTree(99, proc.folder)() is None
    assert ProcessTree(10, proc.folder / "absent")() is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_real_worker_is_counted_before_and_after_its_end() -> None:
    tree = ProcessTree(os.getpid())
    worker = subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdout.readline()
        during = tree()
        worker.stdin.close()
    after = tree()
    assert during is not None
    assert after is not None
    assert worker.pid in during.pids
    assert worker.pid not in after.pids
    assert after.cpu_seconds >= during.cpu_seconds >= 0.09
    assert during.rss_bytes > after.rss_bytes > 0
