"""CPU time and memory of a process and all its descendants, read from Linux's /proc (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class TreeReading:
    """A process tree at one moment.

    cpu_seconds: user and system time of the tree's processes and of the children that they waited for.
    rss_bytes: resident memory of all processes; a page that forked workers share counts in each.
    pids: the processes, zombies included.
    """

    cpu_seconds: float
    rss_bytes: int
    pids: frozenset[int]


class _Stat(NamedTuple):
    parent: int
    ticks: int
    started: int
    pages: int


class ProcessTree:
    """Reads the tree under ``root`` each time it is called; None once ``root`` is gone (or without /proc).

    A worker's time is counted in the worker while it lives or waits as a zombie, and in its parent's
    "children" time from the moment it is waited for: never in both. What cannot be counted is a
    process whose parent ended before it, or ignores its end.

    A read lists /proc and opens one file for each process of the tree and each new process: processes
    outside the tree are remembered, so that a host full of them costs a listing only. Resident memory
    comes from the same file. Proportional memory (smaps_rollup) would share pages out fairly, but it
    walks the page tables under the lock of the address space that is being measured.
    """

    def __init__(self, root: int, proc: Path = Path("/proc")) -> None:
        self._root = root
        self._proc = str(proc)
        self._members: set[int] = set()
        self._outsiders: set[int] = set()
        first = self._stat(root)
        self._started = first.started if first else None

    def __call__(self) -> TreeReading | None:
        """The tree now."""
        try:
            listed = {int(name) for name in os.listdir(self._proc) if name.isdigit()}  # noqa: PTH208 - Path is slow
        except OSError:
            return None
        # Parents first (a child is newer than its parent, save where pids wrapped): a worker that is
        # waited for in between is missed once, which a later read makes good, and never counted twice.
        fresh = {pid: self._stat(pid) for pid in sorted(listed - self._outsiders)}
        stats = {pid: stat for pid, stat in fresh.items() if stat is not None}
        root = stats.get(self._root)
        if root is None or root.started != self._started:
            return None
        self._sort_out(stats, listed)
        tree = [stats[pid] for pid in self._members]
        return TreeReading(
            cpu_seconds=sum(stat.ticks for stat in tree) * SECONDS_PER_TICK,
            rss_bytes=sum(stat.pages for stat in tree) * PAGE_BYTES,
            pids=frozenset(self._members),
        )

    def _sort_out(self, stats: dict[int, _Stat], listed: set[int]) -> None:
        """Tell the tree's processes from the others."""
        self._members = {self._root}
        grown = True
        while grown:
            grown = False
            for pid, stat in stats.items():
                if pid not in self._members and stat.parent in self._members:
                    self._members.add(pid)
                    grown = True
        # A process of unknown parentage is looked at again: its parent may have appeared after the listing.
        self._outsiders &= listed
        self._outsiders |= {
            pid
            for pid, stat in stats.items()
            if pid not in self._members and (stat.parent in listed or stat.parent == 0)
        }

    def _stat(self, pid: int) -> _Stat | None:
        """One process's line; None if it has ended."""
        try:
            handle = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY)
            try:
                line = os.read(handle, 4096)
            finally:
                os.close(handle)
        except OSError:
            return None
        # The command stands in brackets and may itself hold spaces and brackets; state is field 3.
        fields = line[line.rfind(b")") + 2 :].split()
        return _Stat(
            parent=int(fields[1]),
            ticks=sum(int(field) for field in fields[11:15]),  # utime stime cutime cstime
            started=int(fields[19]),
            pages=int(fields[21]),
        )
