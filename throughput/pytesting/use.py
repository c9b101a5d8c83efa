"""Whether processes that are stopped now and then stand still: all of them, and with all that they do."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from throughput.measure.environment import usable_cores
from throughput.measure.processes import ProcessTree
from throughput.measure.stoppable import RunningClock


class Use:
    """What a process and its descendants use from now on. clock: the file by which they are timed."""

    def __init__(self, pid: int, clock: Path) -> None:
        self._tree = ProcessTree(pid)
        self._clock = RunningClock(clock)
        self._begin_seconds, self._before = self._clock(), self._runnable_seconds()

    @property
    def busy_is_known(self) -> bool:
        """Whether this kernel tells how busy processes are."""
        return bool(self._before)

    def busy(self) -> float | None:
        """For which share of the time that they ran all cores were busy, or one of the processes was, 0..1.

        Waiting for a core counts: others may use it. What is not busy waits for something else, as a server,
        which goes on while they stand still. None where they have ended meanwhile.
        """
        seconds, now = self._clock() - self._begin_seconds, self._runnable_seconds()
        if not now or seconds <= 0:
            return None
        used = [runnable - self._before.get(pid, 0.0) for pid, runnable in now.items()]
        return min(1.0, max(*used, sum(used) / usable_cores()) / seconds)

    def _runnable_seconds(self) -> dict[int, float]:
        """For how long the threads of each process ran, or waited for a core (proc(5), schedstat)."""
        tree = self._tree()
        found: dict[int, float] = {}
        for pid in () if tree is None else tree.pids:
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):  # it has ended
                    ran, waited, _ = path.read_text().split()
                    found[pid] = found.get(pid, 0.0) + (int(ran) + int(waited)) / 1e9
        return found


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
