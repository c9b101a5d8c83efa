"""Which pages of an open file lie in the page cache (mincore(2)), and where that can be told and changed."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from throughput.errors import ThroughputError
from throughput.measure.processes import PAGE_BYTES

_MEMORY = "is memory: there is no cold; put the data on a disk"
_NEVER_COLD = {
    "tmpfs": _MEMORY,
    "ramfs": _MEMORY,
    "devtmpfs": _MEMORY,
    "hugetlbfs": _MEMORY,
    "zfs": "has a cache of its own (ARC) that only root can empty; put the data on another filesystem",
}
"""Filesystems, by their name in /proc/self/mountinfo, whose files cannot be made cold."""


def count_pages(size_bytes: int) -> int:
    """Pages that a file of that size takes; an empty one takes none."""
    return -(-size_bytes // PAGE_BYTES)


def resident_pages(descriptor: int, size_bytes: int) -> int:
    """Pages of an open file that are resident; all of them where ``require_told`` raises.

    Raises OSError where the file cannot be mapped, or the kernel or a sandbox has no mincore(2).
    """
    if not size_bytes:
        return 0
    flags = np.zeros(count_pages(size_bytes), np.uint8)
    # Mapping a file brings nothing of it in. Private, because some of FUSE's files cannot be shared.
    with mmap.mmap(descriptor, size_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as mapping:
        address = np.frombuffer(mapping, np.uint8).ctypes.data
        if _mincore()(address, size_bytes, flags.ctypes.data):
            number = ctypes.get_errno()
            raise OSError(number, f"mincore: {os.strerror(number)}")
    return int(np.count_nonzero(flags & 1))  # the other bits are reserved


def require_told(path: Path, descriptor: int) -> None:
    """Raise ThroughputError where the kernel does not tell this user what of the file is resident.

    Since Linux 5.2 it calls every page resident, unless the user owns the file, may write it or is
    root (CAP_FOWNER).
    """
    user = os.geteuid()
    owner = os.fstat(descriptor).st_uid
    # Root first: access(2) says no to everybody on a read-only mount, and mincore does not.
    if user in (0, owner) or os.access(path, os.W_OK, effective_ids=True):
        return
    raise ThroughputError(
        f"what of {path} is in the page cache is told only to who owns it or may write it: "
        f"measure as user {owner}, or measure a copy of your own"
    )


def require_evictable(path: Path, device: int) -> None:
    """Raise ThroughputError where the filesystem on that device number knows no cold."""
    kind = _filesystems().get(device, "")
    if kind in _NEVER_COLD:
        raise ThroughputError(f"{path} lies on {kind}, which {_NEVER_COLD[kind]}")


def _filesystems() -> dict[int, str]:
    """Device number -> type of its filesystem, of all mounts (proc_pid_mountinfo(5))."""
    kinds = {}
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    for line in mounts.splitlines():
        mount, _, filesystem = line.partition(" - ")
        major, minor = mount.split()[2].split(":")
        kinds[os.makedev(int(major), int(minor))] = filesystem.split()[0]
    return kinds


@cache
def _mincore() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None, use_errno=True).mincore
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    function.restype = ctypes.c_int
    return function
