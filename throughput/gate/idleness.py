"""Whether processes that are stopped now and then stand still: all of them, and with all that they do.

What a process waits for (a disk, a server, a sleep) goes on while it stands still, and costs nothing then: a
loader that waits looks faster for being stopped. How much of its time it waits is seen while it runs.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from throughput.measure.environment import usable_cores
from throughput.measure.processes import ProcessTree

_BOOKED_LATE_SECONDS = 0.004
"""For how long the kernel may book what a thread used behind the end of a span: a tick of 250 Hz."""


@dataclass(frozen=True)
class Seen:
    """Seconds in which processes were looked at, and of these the ones in which they did not wait: in which
    one thread, always the same, ran or waited for a core, or as many as there are cores. These may come out
    a little above the whole.
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
    """Of some threads, over the spans of time that are looked at.

    Threads that wait in turn, so that one of them always runs, count as waiting, unless they fill the cores:
    each is slower for it. So do threads that come and go. A span should be short beside what is waited for at
    a time.

    read: for how long each thread ran, or waited for a core, in seconds; without those that have ended.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, float]],
        clock: Callable[[], float] = time.perf_counter,
        cores: int | None = None,
    ) -> None:
        self._read = read
        self._clock = clock
        self._cores = usable_cores() if cores is None else cores
        self._begin_seconds = 0.0
        self._before: Mapping[str, float] = {}
        self._seconds = 0.0
        self._of_threads: dict[str, float] = defaultdict(float)
        self._of_cores_seconds = 0.0
        self._late_seconds = 0.0

    @property
    def seen(self) -> Seen:
        """In all spans."""
        return Seen(self._seconds, max([self._of_cores_seconds, *self._of_threads.values()]))

    def begin(self) -> None:
        """A span begins."""
        self._before = self._read()
        self._begin_seconds = self._clock()

    def end(self, stopped_seconds: float | None = None) -> None:
        """It ends, and the next one begins. One in which the processes ended does not count.

        stopped_seconds: when they were stopped, by the clock; None where they run on.
        """
        now = self._read()
        end_seconds = self._clock() if stopped_seconds is None else stopped_seconds
        used = {thread: runnable - self._before.get(thread, 0.0) for thread, runnable in now.items()}
        if used:
            self._add(used, end_seconds - self._begin_seconds)
        self._before, self._begin_seconds = now, end_seconds

    def _add(self, used: Mapping[str, float], seconds: float) -> None:
        self._seconds += seconds
        for thread, one_seconds in used.items():
            self._of_threads[thread] += one_seconds
        # Where more threads wait than there are cores, they do not make up for a span in which none did.
        of_cores_seconds = self._late_seconds + sum(used.values()) / self._cores
        counted = min(seconds, of_cores_seconds)
        self._of_cores_seconds += counted
        self._late_seconds = min(of_cores_seconds - counted, _BOOKED_LATE_SECONDS)


def runnable_seconds(root: int) -> Callable[[], Mapping[str, float]]:
    """For how long each thread of a process and its descendants ran, or waited for a core that others used
    (proc(5), schedstat), whenever it is asked for.
    """
    tree_of = ProcessTree(root)

    def read() -> Mapping[str, float]:
        tree = tree_of()
        found: dict[str, float] = {}
        for pid in () if tree is None else tree.pids:
            with suppress(OSError):  # it has ended
                for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - Path is slow
                    with suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as file:  # noqa: PTH123 - Path is slow
                        ran, waited, _ = file.read().split()
                        found[thread] = (int(ran) + int(waited)) / 1e9
        return found

    return read


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
