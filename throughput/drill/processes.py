"""Faults of the machine: a process is killed, memory or a disk is full. Each is done to this process."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from throughput.measure.processes import PAGE_BYTES, ProcessTree

_SPARE_BYTES = 48 << 20
"""Address space that is left: less than a thread's stack and a decoder's buffers take together."""
_LARGEST_FILE_BYTES = 4096
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE)

Moment = Literal["prepare", "open", "first batch"]


class NotApplicableError(Exception):
    """This loader has nothing that the fault could strike."""


@dataclass(frozen=True)
class ProcessFault:
    """act: do it, in the loader's own process. moment: just before ``prepare`` or ``open``, or just after the
    first batch. words: an error that tells of the fault holds one of them. warm: the loader has been open
    before, so that it is not the loading of its libraries that fails.
    """

    name: str
    about: str
    act: Callable[[], None]
    moment: Moment
    words: tuple[str, ...]
    warm: bool = False


def _kill_a_worker() -> None:
    reading = ProcessTree(os.getpid())()
    others = sorted(reading.pids - {os.getpid()}) if reading else []
    workers = [pid for pid in others if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    if not workers:
        raise NotApplicableError("it works in threads of one process")
    os.kill(workers[0], signal.SIGKILL)


def _fill_disks() -> None:
    """No file may grow beyond a page (setrlimit(2)), nor a batch on its way through shared memory."""
    _limit(resource.RLIMIT_FSIZE, _LARGEST_FILE_BYTES)


def _fill_memory() -> None:
    """Leave little address space. What is mapped already stays."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _limit(resource.RLIMIT_AS, pages * PAGE_BYTES + _SPARE_BYTES)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


@contextmanager
def limits_restored() -> Iterator[None]:
    """Whatever a fault has limited is as it was on leaving, so that there is room to tell of it."""
    before = {what: resource.getrlimit(what) for what in _LIMITS}
    try:
        yield
    finally:
        for what, limits in before.items():
            resource.setrlimit(what, limits)


_NO_ROOM = ("room", "disk", "space", "too large", "shared memory", "shm")

PROCESS_FAULTS = (
    ProcessFault(
        "worker-killed", "a worker is killed (SIGKILL)", _kill_a_worker, "first batch", ("worker", "killed")
    ),
    ProcessFault(
        "disk-full", "no file can be written where a loader converts", _fill_disks, "prepare", _NO_ROOM
    ),
    ProcessFault("shm-full", "no batch finds room in shared memory", _fill_disks, "open", _NO_ROOM),
    ProcessFault(
        "memory-full",
        "48 MiB of memory are left",
        _fill_memory,
        "open",
        ("memory", "alloc", "thread", "unavailable"),
        warm=True,
    ),
)
