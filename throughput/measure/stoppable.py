"""The time in which a process runs, where another one stops it now and then (SIGSTOP) to measure something
else: who stops it tells in a file for how long it has stood still in all, and the process reads that off its
clock.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from pathlib import Path

_SECONDS = struct.Struct("d")


class StoodStill:
    """For how long a process has stood still, for who stops it; ``path`` must not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("xb+") as file:
            file.write(_SECONDS.pack(0.0))
            file.flush()
            self._shared = mmap.mmap(file.fileno(), _SECONDS.size)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """So long again. Call it while the process stands still: it finds the sum when it goes on."""
        self._seconds += seconds
        _SECONDS.pack_into(self._shared, 0, self._seconds)


class RunningClock:
    """A clock without the time in which this process stood still. path: of ``StoodStill``."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        with path.open("rb") as file:
            self._shared = mmap.mmap(file.fileno(), _SECONDS.size, access=mmap.ACCESS_READ)
        self._latest = float("-inf")

    def __call__(self) -> float:
        """Seconds from an arbitrary start, never fewer than before."""
        stood_still = self._stood_still()
        while True:
            now = self._clock()
            before, stood_still = stood_still, self._stood_still()
            if stood_still == before:  # else it stood still between the two readings
                break
        # Who stops a process reads the time a moment before or after it stands still.
        self._latest = max(self._latest, now - stood_still)
        return self._latest

    def _stood_still(self) -> float:
        seconds: float = _SECONDS.unpack_from(self._shared)[0]
        return seconds
