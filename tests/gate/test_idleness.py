"""How much of its time a process waits, seen from outside."""

from __future__ import annotations

import subprocess
import sys

import pytest

from throughput.gate.idleness import Idleness, is_known

FORKING = """
import os, time
print(flush=True)
while True:
    if not (pid := os.fork()):
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        os._exit(0)
    os.waitpid(pid, 0)
"""
BURNING = "print(flush=True)\nwhile True: pass"
WAITING = "import time\nprint(flush=True)\ntime.sleep(60)"
HALVES = """
import time
print(flush=True)
while True:
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    time.sleep(0.02)
"""


@pytest.mark.parametrize(
    ("program", "least", "most"),
    [(BURNING, -0.05, 0.05), (FORKING, -0.1, 0.3), (HALVES, 0.2, 0.8), (WAITING, 0.9, 1.0)],
    ids=["burning", "forking", "halves", "waiting"],
)
def test_waiting_is_told_from_running_and_from_waiting_for_a_core(
    program: str, least: float, most: float
) -> None:
    assert is_known()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        idleness = Idleness(process.pid)
        idleness.begin()
        for _ in range(40):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.02)
            idleness.end()
        process.kill()
    assert least <= 1 - idleness.seen.busy_seconds / idleness.seen.seconds <= most


def test_nothing_is_said_of_what_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", BURNING], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        idleness = Idleness(process.pid)
        idleness.begin()
        process.kill()
    idleness.end()
    assert idleness.seen.seconds == 0
