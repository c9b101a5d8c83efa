"""Blocks of remote files in a folder of a local disk: bounded, and shared by all processes.

A block is a file of its own that appears whole, by a rename. Whoever fetches one holds a lock on its
unfinished file, which the kernel lets go when a process dies: two processes do not fetch the same block, and
a dead one keeps nobody waiting. A block that is dropped while it is read is read to its end all the same.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from throughput.errors import OptionError, RoomError
from throughput.sources.remote.stores import RemoteFile

BLOCK_BYTES = 128 << 10
"""About one photo: a larger one would bring more along than a random order can wait for."""
LEAST_CACHE_BYTES = 64 << 20
_KEPT_SHARE = 0.9
"""Of the limit, when blocks are dropped: so that it does not happen for each new one."""
_TOUCH_SECONDS = 60
"""A block's time of last use is this coarse; noting each use would write to the disk all the time."""
_NAME_DIGITS = 7
"""Of a block's name, its number in hex: enough for files of 32 TiB."""
_CLAIM = ".claim"
_TOTAL = struct.Struct("<q")


@dataclass(frozen=True)
class BlockCache:
    """folder: of all blocks. limit_bytes: of all blocks together."""

    folder: str
    limit_bytes: int

    def __post_init__(self) -> None:
        if self.limit_bytes < LEAST_CACHE_BYTES:
            raise OptionError(
                f"--remote-cache must be {LEAST_CACHE_BYTES >> 20} MiB or more, got {self.limit_bytes} bytes"
            )

    def has(self, file: RemoteFile, block: int) -> bool:
        """Whether a block is here, whole."""
        try:
            return os.stat(self._path(file, block)).st_size == block_bytes(file, block)  # noqa: PTH116 - thousands a second
        except FileNotFoundError:
            return False

    def read(self, file: RemoteFile, block: int, start: int, end: int) -> bytes | None:
        """Bytes ``start`` to ``end`` of a block; None where it is not here, or not whole."""
        try:
            descriptor = os.open(self._path(file, block), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            if status.st_size != block_bytes(file, block):
                return None
            if time.time() - status.st_mtime > _TOUCH_SECONDS:
                with suppress(OSError):
                    os.utime(descriptor)
            return os.pread(descriptor, end - start, start)
        finally:
            os.close(descriptor)

    @contextmanager
    def claimed(self, file: RemoteFile, blocks: range) -> Iterator[range]:
        """The first of ``blocks`` that are neither here nor being fetched by anybody else; maybe none."""
        held: list[tuple[int, str]] = []
        try:
            for block in blocks:
                descriptor = None if self.has(file, block) else self._claim(file, block)
                if descriptor is None:
                    break
                held.append((descriptor, self._path(file, block) + _CLAIM))
            yield blocks[: len(held)]
        finally:
            for descriptor, path in held:
                # Under its lock, so that it is nobody else's; a block that was written has been renamed.
                if _is_at(descriptor, path):
                    Path(path).unlink(missing_ok=True)
                # Said to the kernel: a child that was forked meanwhile holds the descriptor as well.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    @contextmanager
    def claimed_whole(self, file: RemoteFile) -> Iterator[None]:
        """Waits until nobody else has claimed the whole file."""
        os.makedirs(self._folder(file), exist_ok=True)  # noqa: PTH103 - thousands a second
        descriptor = os.open(f"{self._folder(file)}/whole{_CLAIM}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def write(self, file: RemoteFile, block: int, data: bytes | memoryview) -> None:
        """Keep a block, and drop the least recently used ones above the limit. Raises RoomError."""
        path = self._path(file, block)
        temporary = f"{path}.{os.getpid()}-{threading.get_ident()}.new"
        try:
            with open(temporary, "wb") as out:  # noqa: PTH123 - thousands a second
                out.write(data)
            os.replace(temporary, path)  # noqa: PTH105 - as above
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - as above
            raise self.unusable(error) from error
        if self._add(len(data)) > self.limit_bytes:
            self._drop()

    def unusable(self, error: OSError) -> RoomError:
        """What to tell where the disk does not do what it is asked for."""
        return RoomError(
            f"cannot use the cache of remote files {self.folder}: {error.strerror}; free some room, "
            "give --remote-cache less, or set THROUGHPUT_CACHE to a folder on another disk"
        )

    def forget(self, file: RemoteFile) -> None:
        """Drop all blocks of a file, but for those that somebody is fetching."""
        for path in Path(self._folder(file)).glob("?" * _NAME_DIGITS):
            path.unlink(missing_ok=True)

    def drop(self, file: RemoteFile, block: int) -> None:
        """Drop a block: what it holds is wrong."""
        Path(self._path(file, block)).unlink(missing_ok=True)

    def _folder(self, file: RemoteFile) -> str:
        return f"{self.folder}/blocks/{file.key[:2]}/{file.key}"

    def _path(self, file: RemoteFile, block: int) -> str:
        return f"{self._folder(file)}/{block:0{_NAME_DIGITS}x}"

    def _claim(self, file: RemoteFile, block: int) -> int | None:
        """A locked descriptor; None where another holds it."""
        path = self._path(file, block) + _CLAIM
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            os.makedirs(self._folder(file), exist_ok=True)  # noqa: PTH103 - as above
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        # Whoever held it may have finished between our looking and our locking.
        if not _is_at(descriptor, path) or self.has(file, block):
            if _is_at(descriptor, path):
                Path(path).unlink(missing_ok=True)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
            return None
        return descriptor

    def _add(self, added_bytes: int) -> int:
        """Bytes of all blocks, with these, as all processes count them together."""
        with self._counted() as (descriptor, total_bytes):
            os.pwrite(descriptor, _TOTAL.pack(total_bytes + added_bytes), 0)
            return total_bytes + added_bytes

    @contextmanager
    def _counted(self) -> Iterator[tuple[int, int]]:
        descriptor = os.open(f"{self.folder}/total", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            kept = os.pread(descriptor, _TOTAL.size, 0)
            yield descriptor, _TOTAL.unpack(kept)[0] if len(kept) == _TOTAL.size else 0
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _drop(self) -> None:
        """Drop the blocks that were used the longest ago. The count is made anew: it may have drifted."""
        with self._counted() as (descriptor, total_bytes):
            if total_bytes <= self.limit_bytes:
                return  # another process has made room meanwhile
            found = sorted(_blocks_below(f"{self.folder}/blocks"))
            kept_bytes = sum(size for _, size, _ in found)
            for _, size, path in found:
                if kept_bytes <= _KEPT_SHARE * self.limit_bytes:
                    break
                with suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108 - as above
                kept_bytes -= size
            os.pwrite(descriptor, _TOTAL.pack(kept_bytes), 0)


def block_bytes(file: RemoteFile, block: int) -> int:
    """Bytes of a block; a file's last one is shorter."""
    return min(BLOCK_BYTES, file.size_bytes - block * BLOCK_BYTES)


def blocks_of(start: int, end: int) -> range:
    """The blocks that hold bytes ``start`` to ``end``."""
    return range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES))


def _is_at(descriptor: int, path: str) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116 - thousands a second
    except FileNotFoundError:
        return False


def _blocks_below(folder: str) -> Iterator[tuple[float, int, str]]:
    """When each block was used last, its bytes and its path; also what a killed process was writing."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _blocks_below(entry.path)
            elif not entry.name.endswith(_CLAIM):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    yield status.st_mtime, status.st_size, entry.path
