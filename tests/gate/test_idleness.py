"""How much of its time a process waits, seen from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from throughput.gate.idleness import Idleness, Seen, is_known, runnable_seconds

CORES = 2
SPAN_SECONDS = 0.02
ON_AND_OFF = [1.0, 0.0] * 10
OFF_AND_ON = [0.0, 1.0] * 10
ALWAYS = [1.0] * 20
HALF = [0.5] * 20


def seen_of(*threads: Sequence[float | None]) -> Seen:
    """Of threads on two cores that ran, or waited for a core, for such shares of spans of 0.02 s each.

    None: the thread is not there in that span.
    """
    spans = len(threads[0])

    def readings() -> Iterator[dict[str, float]]:
        yield {}
        for span in range(spans):
            yield {
                str(number): SPAN_SECONDS * sum(share or 0.0 for share in thread[: span + 1])
                for number, thread in enumerate(threads)
                if thread[span] is not None
            }

    read, times = readings(), iter(range(spans + 1))
    idleness = Idleness(lambda: next(read), lambda: SPAN_SECONDS * next(times), CORES)
    idleness.begin()
    for _ in range(spans):
        idleness.end()
    return idleness.seen


@pytest.mark.parametrize(
    ("threads", "share"),
    [
        ([ALWAYS], 0.0),
        ([ON_AND_OFF], 0.5),
        ([HALF], 0.5),
        ([[0.0] * 20] * 3, 1.0),
        ([ALWAYS, HALF, ON_AND_OFF], 0.0),
        ([HALF] * 4, 0.0),
        ([HALF] * 3, 0.25),
    ],
    ids=[
        "runs",
        "sleeps",
        "sleeps shortly",
        "stands",
        "one is enough",
        "cores are full",
        "cores are not full",
    ],
)
def test_what_limits_a_process_runs_all_the_time_or_fills_the_cores(threads, share) -> None:
    assert seen_of(*threads).waiting_share == pytest.approx(share)
    assert seen_of(*threads).seconds == pytest.approx(0.4)


def test_threads_that_wait_in_turn_do_not_hide_each_other() -> None:
    assert seen_of(ON_AND_OFF, OFF_AND_ON).waiting_share == pytest.approx(0.5)


def test_more_threads_than_cores_do_not_make_up_for_the_time_in_which_all_wait() -> None:
    """Up to what the kernel may book late."""
    assert seen_of(*[ON_AND_OFF] * 12).waiting_share == pytest.approx(0.4)


def test_what_is_booked_late_is_no_waiting() -> None:
    assert seen_of(*[[0.55, 0.45] * 10] * 4).waiting_share == pytest.approx(0.0)


def test_processes_that_come_and_go_count_as_waiting() -> None:
    """Rather than to be measured as if they did not: it is not seen for whom they wait."""
    each = [[1.0 if span == number else None for span in range(4)] for number in range(4)]
    assert seen_of(*each).waiting_share == pytest.approx(0.5)


BURNING = "print(flush=True)\nwhile True: pass"
STANDING = "import time\nprint(flush=True)\ntime.sleep(60)"


@pytest.mark.parametrize(("program", "share"), [(BURNING, 0.0), (STANDING, 1.0)], ids=["burning", "standing"])
def test_the_kernel_tells_running_and_waiting_for_a_core_from_sleeping(program: str, share: float) -> None:
    """A machine that others keep busy, too, makes no difference."""
    assert is_known()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        idleness = Idleness(runnable_seconds(process.pid))
        idleness.begin()
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        idleness.end()
        process.kill()
    assert idleness.seen.waiting_share == pytest.approx(share, abs=0.1)


def test_nothing_is_said_of_what_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", BURNING], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        idleness = Idleness(runnable_seconds(process.pid))
        idleness.begin()
        process.kill()
    idleness.end()
    assert idleness.seen.seconds == 0
