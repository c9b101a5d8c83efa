"""Whether processes that are stopped now and then stand still: all of them, and with all that they do.

What a process waits for (a disk, a server, a sleep) goes on while it stands still, and costs nothing then: a
loader that waits looks faster for being stopped. How much of its time it waits is seen while it runs.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from throughput.measure.environment import usable_cores
from throughput.measure.processes import ProcessTree


@dataclass(frozen=True)
class Seen:
    """Seconds in which processes were looked at, and of these the ones in which they did not wait: as many
    threads as there are cores, or one all the time, ran or waited for a core. These may come out a little
    above the whole.
    """

    seconds: float = 0.0
    busy_seconds: float = 0.0

    def __add__(self, other: Seen) -> Seen:
        return Seen(self.seconds + other.seconds, self.busy_seconds + other.busy_seconds)

    @property
    def waiting_share(self) -> float:
        """Of the time in which they waited, 0..1; 0 where nobody looked."""
        return max(0.0, 1 - self.busy_seconds / self.seconds) if self.seconds else 0.0


class Idleness:
    """Of a process and its descendants, over the spans of time that are looked at: they run in all of them.

    A span should be short beside what processes that come and go live for. The kernel books the time in which
    a thread runs or waits for a core with some delay, so what one span lacks another has too much of: only
    sums tell.
    """

    def __init__(self, pid: int) -> None:
        self._tree = ProcessTree(pid)
        self._begin_seconds = 0.0
        self._before: dict[str, float] = {}
        self.seen = Seen()
        """In all spans."""

    def begin(self) -> None:
        """A span begins."""
        self._before = self._runnable_seconds()
        self._begin_seconds = time.perf_counter()

    def end(self, stopped_seconds: float | None = None) -> None:
        """It ends, and the next one begins. One in which the processes ended does not count.

        stopped_seconds: when they were stopped, by time.perf_counter; None where they run on.
        """
        now = self._runnable_seconds()
        end_seconds = time.perf_counter() if stopped_seconds is None else stopped_seconds
        used = [runnable - self._before.get(thread, 0.0) for thread, runnable in now.items()]
        if used:
            busy_seconds = max(*used, sum(used) / usable_cores())
            self.seen += Seen(end_seconds - self._begin_seconds, busy_seconds)
        self._before, self._begin_seconds = now, end_seconds

    def _runnable_seconds(self) -> dict[str, float]:
        """For how long each thread ran, or waited for a core that others used (proc(5), schedstat)."""
        tree = self._tree()
        found: dict[str, float] = {}
        for pid in () if tree is None else tree.pids:
            with suppress(OSError):  # it has ended
                for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - Path is slow
                    with suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as file:  # noqa: PTH123 - Path is slow
                        ran, waited, _ = file.read().split()
                        found[thread] = (int(ran) + int(waited)) / 1e9
        return found


def is_known() -> bool:
    """Whether this kernel tells for how long threads ran."""
    return Path("/proc/self/schedstat").exists()


def apart_from(group: int) -> int:
    """How many descendants of a group's first process are in another group, and not stopped with it."""
    tree = ProcessTree(group)()
    return 0 if tree is None else sum(_group_of(pid) not in (group, None) for pid in tree.pids)


def _group_of(pid: int) -> int | None:
    """None of a process that has ended."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
