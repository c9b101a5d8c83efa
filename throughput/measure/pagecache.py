"""The page cache under the image files: emptied, filled, and looked at; and what the device gave instead.

Cold and warm are of the files' pages in this machine's memory. What else may still be warm, and cannot be
emptied from here: names and inodes of the files, the cache of a file server, the host's under a virtual
machine, the drive's own. Linux only; nothing here needs root.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from throughput.contracts import Progress, no_progress
from throughput.errors import SourceError, ThroughputError
from throughput.measure.environment import usable_memory_bytes
from throughput.measure.processes import ProcessTree
from throughput.measure.residency import count_pages, require_evictable, require_told, resident_pages

MOST_RESIDENT_WHEN_COLD = 0.01
"""Share of the pages that may stay behind: a neighbour's readahead, or a file that somebody looks at."""
LEAST_RESIDENT_WHEN_WARM = 0.99
"""A kernel that frees memory ahead of need (DAMON) takes back a page here and there at any time."""

_READERS = 8
"""Threads that read side by side while warming: one waits for the device most of the time."""
_QUEUED = 4096
_BLOCK_BYTES = 1 << 20
_ROUNDS = 3
_TRIES = 10


def evict(paths: Sequence[Path], progress: Progress = no_progress) -> None:
    """Drop the files' pages from the page cache (posix_fadvise(2), POSIX_FADV_DONTNEED).

    The kernel drops no page that waits to be written or that a process has mapped. Where pages stay, all that
    waits is written out (sync(2)) and these files are tried once more: fdatasync(2) file by file would flush
    the drive's own cache each time. Raises SourceError for a file that cannot be opened, ThroughputError
    elsewhere than on Linux.
    """
    _require_linux()
    stayed = _drop(paths, progress)
    if stayed:
        os.sync()
        _drop(stayed, progress)


def resident_share(paths: Sequence[Path]) -> float:
    """Share of the files' pages that lie in the page cache, 0..1 (mincore(2)).

    Raises ThroughputError where the kernel would not tell this user (it then calls all pages resident, since
    Linux 5.2) and where the files hold no byte; SourceError for a file that cannot be opened.
    """
    _require_linux()
    resident = pages = 0
    for path in paths:
        with _opened(path) as (descriptor, size_bytes):
            require_told(path, descriptor)
            resident += resident_pages(descriptor, size_bytes)
            pages += count_pages(size_bytes)
    if not pages:
        raise ThroughputError(f"{len(paths)} files hold no byte: there is nothing to be cached")
    return resident / pages


def warm(paths: Sequence[Path], progress: Progress = no_progress) -> None:
    """Read every file once.

    Raises ThroughputError where the files are larger than the memory that may cache them: what is available
    on the machine (the cache that can be given up counts as such), within the limit of the cgroup.
    """
    _require_linux()
    files_bytes = sum(_size_bytes(path) for path in paths)
    room_bytes = min(int(psutil.virtual_memory().available), usable_memory_bytes())
    if files_bytes > room_bytes:
        raise ThroughputError(
            f"the files hold {_gigabytes(files_bytes)} and memory has room for {_gigabytes(room_bytes)}: "
            "they cannot be warm all at once; measure them cold, or fewer of them, or free memory"
        )
    readers = ThreadPoolExecutor(_READERS, "warm")
    try:
        # Some at a time: a million waiting calls would take a gigabyte.
        for begin in range(0, len(paths), _QUEUED):
            for done, _ in enumerate(readers.map(_read, paths[begin : begin + _QUEUED]), begin):
                _tell(progress, "reading into the page cache", done + 1, len(paths))
    finally:
        readers.shutdown(cancel_futures=True)  # an interruption does not wait for all files


def require_cold(paths: Sequence[Path], progress: Progress = no_progress) -> float:
    """Evict, and return the share of pages that is still resident, 0..1.

    Raises ThroughputError where more than MOST_RESIDENT_WHEN_COLD is, and for filesystems that know no cold.
    """
    _require_linux()
    for device, path in {_status(path).st_dev: path for path in paths}.items():
        require_evictable(path, device)
    evict(paths, progress)
    share = resident_share(paths)
    if share > MOST_RESIDENT_WHEN_COLD:
        raise ThroughputError(
            f"{100 * share:.1f} % of the pages of {_named(paths)} stayed in the page cache when they were "
            "evicted: end what else reads or maps these files, or put the data on a local disk"
        )
    return share


def require_warm(paths: Sequence[Path], progress: Progress = no_progress) -> float:
    """Read every file, again if pages went meanwhile; return the share of pages that is resident, 0..1.

    Raises ThroughputError where less than LEAST_RESIDENT_WHEN_WARM is, or memory has no room.
    """
    share = 0.0
    for _ in range(_ROUNDS):
        warm(paths, progress)
        share = resident_share(paths)
        if share >= LEAST_RESIDENT_WHEN_WARM:
            return share
    raise ThroughputError(
        f"only {100 * share:.1f} % of the pages of {_named(paths)} are in the page cache though all were "
        f"read {_ROUNDS} times: free memory, or put the data on a filesystem that uses it (no DAX)"
    )


def device_bytes_read(pid: int) -> int:
    """Bytes that a process and its descendants had the storage layer fetch (proc_pid_io(5), read_bytes).

    Counts from the start of each process, readahead and page faults included; the kernel adds a child that
    has ended to the parent that waited for it, so difference two readings of a tree whose root lives. Exact
    where a block device lies below, under an overlay too. NFS counts what it asks its server for; a
    filesystem in user space (FUSE) may count nothing: ask ``counts_reads``.
    Raises ThroughputError where the process is gone, is another user's, or the kernel keeps no such count.
    """
    _require_linux()
    tree = ProcessTree(pid)
    for _ in range(_TRIES):
        reading = tree()
        if reading is None:
            break
        try:
            # Parents first: a child that is read after its parent has not been added to it yet.
            return sum(_bytes_read(f"/proc/{one}/io") for one in sorted(reading.pids))
        except (FileNotFoundError, ProcessLookupError):
            continue  # a worker ended in between: its bytes are its parent's now
        except PermissionError as error:
            raise ThroughputError(
                f"what process {pid} read from the device cannot be told: {error.filename} is closed to "
                "this user; run as the user whose process it is"
            ) from error
    if not Path("/proc/self/io").exists():
        raise ThroughputError(
            "the kernel counts no reads from devices: it was built without CONFIG_TASK_IO_ACCOUNTING"
        )
    raise ThroughputError(
        f"what process {pid} read from the device cannot be told: it has ended (or its workers end too fast)"
    )


def counts_reads(paths: Sequence[Path]) -> bool:
    """Whether reading these files from their device shows in ``device_bytes_read``: tried on the largest.

    Leaves that file evicted. Where it does not show, nothing can be said about who read what.
    """
    largest = max(paths, key=_size_bytes)
    evict([largest])
    try:
        before_bytes = _bytes_read("/proc/thread-self/io")
    except OSError:
        return False
    with _opened(largest) as (descriptor, size_bytes):
        came_bytes = len(os.read(descriptor, min(size_bytes, _BLOCK_BYTES)))
    counted_bytes = _bytes_read("/proc/thread-self/io") - before_bytes
    evict([largest])
    return counted_bytes >= came_bytes > 0


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """An open file and its size in bytes. Raises SourceError for whatever the system refuses."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor, os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def _drop(paths: Sequence[Path], progress: Progress) -> list[Path]:
    """Ask the kernel to drop the files' pages; the files that kept some."""
    stayed = []
    for done, path in enumerate(paths):
        with _opened(path) as (descriptor, size_bytes):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            if resident_pages(descriptor, size_bytes):
                stayed.append(path)
        _tell(progress, "emptying the page cache", done + 1, len(paths))
    return stayed


def _read(path: Path) -> None:
    with _opened(path) as (descriptor, _):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while os.read(descriptor, _BLOCK_BYTES):
            pass


def _bytes_read(counters: str) -> int:
    lines = Path(counters).read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def _size_bytes(path: Path) -> int:
    return _status(path).st_size


def _require_linux() -> None:
    if sys.platform != "linux":
        raise ThroughputError(
            f"the page cache can be emptied and looked at on Linux only, not on {sys.platform}"
        )


def _tell(progress: Progress, text: str, done: int, total: int) -> None:
    """Every so often: drawing a bar takes longer than evicting a small file."""
    if done % 256 == 0 or done == total:
        progress(text, done, total)


def _named(paths: Sequence[Path]) -> str:
    return f"{paths[0]}" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more files"


def _gigabytes(amount_bytes: int) -> str:
    return f"{amount_bytes / 1e9:.1f} GB"
