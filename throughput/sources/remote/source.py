"""Images in tar shards on a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from throughput.errors import SampleError, SourceError
from throughput.sources.checksum import checksum
from throughput.sources.remote.beside import forget_index, index_beside
from throughput.sources.remote.fetching import Fetcher, Reach, fetcher_of
from throughput.sources.remote.journal import read_journal
from throughput.sources.remote.readers import cached_reader
from throughput.sources.remote.retrying import RemoteError
from throughput.sources.remote.stores import RemoteFile
from throughput.sources.shard_index import ShardIndexFile
from throughput.sources.shards import ShardSource
from throughput.sources.tar import BLOCK_BYTES, padded

AHEAD_BYTES = 64 << 20
_BEFORE_BYTES = 3 * BLOCK_BYTES
"""Of a stream's next image: the label of the one before, and the image's own header."""


@dataclass(frozen=True, eq=False)
class RemoteShardSource(ShardSource):
    """Shards on a server. shards: their addresses as they are shown. remote: the files themselves.

    reach: how they are read. choice: how their samples were found, and why so.
    limit_bytes_per_second: what the network gives at best; None where nobody has looked. limit_given: it was
    told, not measured.
    """

    remote: tuple[RemoteFile, ...] = ()
    reach: Reach = field(kw_only=True)
    choice: str = ""
    limit_bytes_per_second: float | None = None
    limit_given: bool = False

    def ahead_bytes(self) -> int:
        """A part of the cache: what was fetched ahead must not be dropped before it is used."""
        return min(AHEAD_BYTES, self.reach.cache.limit_bytes // 4)

    @classmethod
    def of(
        cls, source: ShardSource, remote: tuple[RemoteFile, ...], reach: Reach, choice: str
    ) -> RemoteShardSource:
        """A source whose shards are these files."""
        own = {one.name: getattr(source, one.name) for one in fields(ShardSource)}
        return cls(**own, remote=remote, reach=reach, choice=choice)

    def read(self, sample_id: int) -> bytes:
        """The encoded image, compared with its checksum where there is one. Raises SampleError."""
        file, start, end = self._range(sample_id)
        try:
            data = self._fetcher.read(file, start, end)
            if not self._is_sound(sample_id, data):
                # A block that went bad on this disk, or on the way, is had again; a bad shard stays bad.
                self._fetcher.drop(file, start, end)
                data = self._fetcher.read(file, start, end)
        except RemoteError as error:
            raise SampleError(self.describe(sample_id), f"cannot be read: {error}") from error
        if not self._is_sound(sample_id, data):
            self._fetcher.drop(file, start, end)
            forget_index(self._fetcher, file)
            raise SampleError(
                self.describe(sample_id),
                "its bytes are not those that were packed (CRC-32), fetched twice: upload the shard and the "
                "index beside it again",
            )
        return data

    def sound(self, sample_id: int, data: bytes) -> bytes:
        """Read again by itself where a stream brought something else: the copy on this disk may be bad."""
        return data if self._is_sound(sample_id, data) else self.read(sample_id)

    def read_into(self, sample_id: int, room: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The encoded image in what ``room`` gives. Raises SampleError as ``read`` does."""
        data = room(int(self.sizes[sample_id]))
        data[:] = np.frombuffer(self.read(sample_id), np.uint8)
        data.flags.writeable = False
        return data

    def open_run(self, shard: int, ids: NDArray[np.int64]) -> BinaryIO:
        """From a member's beginning on; no byte is fetched that only others' samples need."""
        file = self.remote[shard]
        place = int(self._place[ids[0]])
        start = 0
        if place:
            before = int(self.shard_ids(shard)[place - 1])
            start = int(self.offsets[before]) + padded(int(self.sizes[before]))
        end = int(self.offsets[ids[-1]]) + padded(int(self.sizes[ids[-1]]))
        return cast(BinaryIO, cached_reader(self._fetcher, file, start, min(end, file.size_bytes)))

    def expect(self, ids: NDArray[np.int64]) -> None:
        """Fetch what these samples need, in this order, by threads of this process."""
        self._fetcher.expect(
            (file, max(0, start - _BEFORE_BYTES), end) for file, start, end in map(self._range, ids.tolist())
        )

    def advise(self, sample_id: int) -> None:
        """Nothing: loaders tell by ``expect``, of many at once."""

    def files(self) -> tuple[Path, ...]:
        """None on this machine."""
        return ()

    def size_bytes(self) -> int:
        """Of all shards."""
        return sum(file.size_bytes for file in self.remote)

    def forget(self) -> None:
        """Drop all that the cache has of these shards; what was told ahead in this process is not fetched."""
        self._fetcher.settle()
        for file in self.remote:
            self.reach.cache.forget(file)

    def bytes_read(self) -> int:
        """From the server, by all processes that note their requests in the same journal."""
        return 0 if self.reach.journal is None else read_journal(self.reach.journal).bytes_read

    def noted_in(self, journal: str) -> RemoteShardSource:
        """The same, with its requests noted in a journal."""
        return replace(self, reach=replace(self.reach, journal=journal))

    def _range(self, sample_id: int) -> tuple[RemoteFile, int, int]:
        start = int(self.offsets[sample_id])
        return self.remote[self.shard_of[sample_id]], start, start + int(self.sizes[sample_id])

    def _is_sound(self, sample_id: int, data: bytes) -> bool:
        kept = self._checksum(sample_id)
        return kept is None or checksum(data) == kept

    def _checksum(self, sample_id: int) -> int | None:
        kept = self.kept(sample_id)
        return None if kept is None else kept.checksum

    @property
    def _fetcher(self) -> Fetcher:
        return fetcher_of(self.reach)

    def _index_beside(self, shard: int, sample_id: int) -> ShardIndexFile | None:
        try:
            return _index_file(self.remote[shard], self.reach, len(self.shard_ids(shard)))
        except SourceError as error:
            raise SampleError(self.describe(sample_id), str(error)) from error


@cache
def _index_file(file: RemoteFile, reach: Reach, samples: int) -> ShardIndexFile | None:
    return index_beside(fetcher_of(reach), file, samples)
