"""Remote files as Python reads files: through the cache, or, where little of each is wanted, past it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from throughput.sources.remote.fetching import Fetcher
from throughput.sources.remote.stores import RemoteFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES = 256 << 10
AHEAD_BYTES = 16 << 20
HEADER_BYTES = 4 << 10
"""A sample's label and the next header lie behind its image: one short request has them."""


class RangeReader(io.RawIOBase):
    """Bytes ``start`` to ``end`` of a file; ``read`` finds those from one place to another."""

    def __init__(self, read: Callable[[int, int], bytes], start: int, end: int) -> None:
        self._read = read
        self._start = self._position = start
        self._end = end

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self.tell()

    def tell(self) -> int:
        return self._position - self._start

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")
        stop = min(self._position + len(room), self._end)
        if stop <= self._position:
            return 0
        data = self._read(self._position, stop)
        room[: len(data)] = data
        self._position += len(data)
        return len(data)


def cached_reader(fetcher: Fetcher, file: RemoteFile, start: int, end: int) -> io.BufferedReader:
    """Bytes ``start`` to ``end`` through the cache, for somebody who has them told ahead."""

    def read(begin: int, stop: int) -> bytes:
        return fetcher.read(file, begin, stop)

    return io.BufferedReader(RangeReader(read, start, end), BUFFER_BYTES)


def whole_reader(fetcher: Fetcher, file: RemoteFile) -> io.BufferedReader:
    """A whole file through the cache, which fetches it ahead."""
    told = 0

    def read(begin: int, stop: int) -> bytes:
        nonlocal told
        while told < min(file.size_bytes, stop + AHEAD_BYTES):
            end = min(file.size_bytes, told + AHEAD_BYTES // 4)
            fetcher.expect([(file, told, end)])
            told = end
        return fetcher.read(file, begin, stop)

    return io.BufferedReader(RangeReader(read, 0, file.size_bytes), BUFFER_BYTES)


def header_reader(fetcher: Fetcher, file: RemoteFile) -> io.BufferedReader:
    """A file of which little is looked at, here and there: past the cache."""

    def read(begin: int, stop: int) -> bytes:
        what = f", bytes {begin}-{stop - 1}"
        return fetcher.asked(lambda store: store.read(file, begin, stop), file.address, what)

    return io.BufferedReader(RangeReader(read, 0, file.size_bytes), HEADER_BYTES)
