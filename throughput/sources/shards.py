"""Images in WebDataset tar shards, each read by its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Source, Split
from throughput.errors import SampleError, SourceError
from throughput.sources.checksum import CHANGED, checksum
from throughput.sources.names import Names
from throughput.sources.open_files import open_shard
from throughput.sources.scan import key_of
from throughput.sources.shard_index import (
    SampleIndex,
    SampleRecord,
    ShardIndexFile,
    join_indexes,
    open_checksums,
    open_shard_index,
)
from throughput.sources.splits import checked_parts, split_ids

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class ShardSource(Source):
    """Images in tar shards.

    shards: paths. members: N names of image members. shard_of: (N,) int32 index into ``shards``.
    offsets, sizes: (N,) int64, the bytes of the encoded image in its shard.
    parts: (N,) int8, as for ``with_parts``.
    origin: the source that these shards are a packed copy of, which is where the user will look.
    growth: the packing's, where it gave the JPEGs restart intervals. indexed: whether an index may lie
    beside each shard. stamps: size in bytes and time of modification in ns of each shard when it was scanned;
    empty: not known.
    """

    location: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64] | NDArray[np.float32]
    fingerprint: str
    shards: tuple[str, ...]
    members: Names
    shard_of: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    parts: NDArray[np.int8]
    origin: Source | None = None
    growth: float | None = None
    indexed: bool = False
    channels: int = 3
    stamps: tuple[tuple[int, int], ...] = ()

    def ids(self, split: Split) -> NDArray[np.int64]:
        """Ids of a split, (M,) int64, ascending."""
        return split_ids(self.parts, split)

    def with_parts(self, parts: NDArray[np.int8]) -> ShardSource:
        """The same images split otherwise."""
        return replace(self, parts=checked_parts(self, parts))

    def shard_ids(self, shard_index: int) -> NDArray[np.int64]:
        """Ids of the samples in a shard, (M,) int64, in the order of the file."""
        ids, starts = self._file_order
        return ids[starts[shard_index] : starts[shard_index + 1]]

    @cached_property
    def _file_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All ids by shard and offset, (N,) int64, and where each shard's begin, (shards + 1,) int64."""
        ids = np.lexsort((self.offsets, self.shard_of)).astype(np.int64)
        starts = np.searchsorted(self.shard_of[ids], np.arange(len(self.shards) + 1))
        return ids, starts.astype(np.int64)

    @cached_property
    def _place(self) -> NDArray[np.int32]:
        """Each sample's place in its shard, (N,) int32."""
        ids, starts = self._file_order
        place = np.empty(len(ids), np.int32)
        place[ids] = np.arange(len(ids), dtype=np.int64) - starts[self.shard_of[ids]]
        return place

    def key(self, sample_id: int) -> str:
        """The sample's WebDataset key: unique in its shard."""
        return key_of(self.members[sample_id])

    def __getstate__(self) -> dict[str, Any]:
        """Without what is derived: it is read again where it is needed, and may be large."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def read(self, sample_id: int) -> bytes:
        """The encoded image. Raises SampleError naming the shard, the member and its byte offset.

        So it does where the bytes are not those that were packed, or the shard is another than was scanned.
        """
        data = self._read(sample_id, os.pread)
        self._require_whole(sample_id, len(data))
        self.require_sound(sample_id, data)
        return data

    def read_into(self, sample_id: int, room: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The encoded image in what ``room`` gives. Raises SampleError as ``read`` does.

        Read, not mapped: a shard that is cut while it is mapped ends the process without a word (SIGBUS),
        pages that are mapped cannot be evicted for a cold pass, and each of Python's maps holds a descriptor.
        """
        data = room(int(self.sizes[sample_id]))
        found = self._read(sample_id, lambda shard, _, offset: os.preadv(shard, [data.data], offset))
        self._require_whole(sample_id, found)
        self.require_sound(sample_id, data.data)
        data.flags.writeable = False
        return data

    def require_sound(self, sample_id: int, data: bytes | memoryview) -> None:
        """Raise SampleError where an encoded image is not the one that was packed, by its checksum.

        Where packing kept none, the shard must be as it was when it was scanned.
        """
        kept = self._checksum(sample_id)
        if kept is None:
            if self.stamps:
                self._require_unchanged(sample_id, self._status(sample_id))
        elif checksum(data) != kept:
            raise SampleError(self.describe(sample_id), CHANGED)

    def sound(self, sample_id: int, data: bytes) -> bytes:
        """The encoded image that a stream brought. Raises SampleError as ``require_sound`` does."""
        self.require_sound(sample_id, data)
        return data

    def _checksum(self, sample_id: int) -> int | None:
        if not self.indexed:
            return None
        shard = int(self.shard_of[sample_id])
        try:
            kept = _checksums(self.shards[shard], len(self.shard_ids(shard)), self.fingerprint)
        except SourceError as error:
            raise SampleError(self.describe(sample_id), str(error)) from error
        return None if kept is None else int(kept[self._place[sample_id]])

    def _status(self, sample_id: int) -> os.stat_result:
        try:
            # Named, or another thread may close it.
            opened = open_shard(self.shards[self.shard_of[sample_id]], self.fingerprint)
            return os.fstat(opened.descriptor)
        except OSError as error:
            raise SampleError(self.describe(sample_id), f"cannot be read: {error.strerror}") from error

    def _require_unchanged(self, sample_id: int, found: os.stat_result) -> None:
        if (found.st_size, found.st_mtime_ns) != self.stamps[self.shard_of[sample_id]]:
            raise SampleError(self.describe(sample_id), "the shard changed since it was scanned: start again")

    def _read(self, sample_id: int, read: Callable[[int, int, int], Found]) -> Found:
        """What ``read`` finds, given the descriptor of the sample's shard, its size and its offset."""
        try:
            shard = open_shard(self.shards[self.shard_of[sample_id]], self.fingerprint)
            return read(shard.descriptor, int(self.sizes[sample_id]), int(self.offsets[sample_id]))
        except OSError as error:
            raise SampleError(self.describe(sample_id), f"cannot be read: {error.strerror}") from error

    def _require_whole(self, sample_id: int, found_bytes: int) -> None:
        if self.origin is not None and not self.sizes[sample_id]:
            raise SampleError(
                self.describe(sample_id), "it is empty, or could not be read when it was packed"
            )
        if found_bytes < self.sizes[sample_id]:
            raise SampleError(
                self.describe(sample_id),
                f"the shard ends after {found_bytes} of {self.sizes[sample_id]} bytes; "
                f"it changed since it was scanned",
            )

    def kept(self, sample_id: int) -> SampleRecord | None:
        """What the index beside the shard has about a sample; None where there is no index.

        Raises SampleError where it does not fit.
        """
        if not self.indexed:
            return None
        index = self._index_beside(int(self.shard_of[sample_id]), sample_id)
        return None if index is None else index.record(int(self._place[sample_id]))

    def kept_of(self, ids: NDArray[np.int64]) -> list[SampleRecord | None]:
        """The same about each of some samples; the first call reads the indexes of all shards."""
        return self._index.look_up(ids) if self.indexed else [None] * len(ids)

    @cached_property
    def _index(self) -> SampleIndex:
        ids = [self.shard_ids(shard) for shard in range(len(self.shards))]
        for of_shard in ids:
            if len(of_shard):
                self._checksum(int(of_shard[0]))  # read now, not in mid-epoch
        indexes = [
            # A shard without a sample has nothing to be looked up.
            self._index_beside(shard, int(of_shard[0])) if len(of_shard) else None
            for shard, of_shard in enumerate(ids)
        ]
        return join_indexes(indexes, ids, self.shard_of)

    def _index_beside(self, shard: int, sample_id: int) -> ShardIndexFile | None:
        """The index of a shard. Raises SampleError, naming a sample of it, where it does not fit."""
        try:
            return _index_file(self.shards[shard], len(self.shard_ids(shard)), self.fingerprint)
        except SourceError as error:
            raise SampleError(self.describe(sample_id), str(error)) from error

    def open_run(self, shard: int, ids: NDArray[np.int64]) -> BinaryIO:
        """A shard, or what of it holds these samples, (M,) int64 in its order, from some member on.

        Raises SampleError where packing kept no checksums and the shard is another than was scanned: one that
        was put in its place is not the one that ``read`` has open.
        """
        stream = Path(self.shards[shard]).open("rb")  # noqa: SIM115 - whoever asked for it closes it
        try:
            if self.stamps and self._checksum(int(ids[0])) is None:
                self._require_unchanged(int(ids[0]), os.fstat(stream.fileno()))
        except BaseException:
            stream.close()
            raise
        return stream

    def advise(self, sample_id: int) -> None:
        """Have the kernel read a sample ahead (posix_fadvise(2)); whoever reads it hears of what is wrong."""
        size, offset = int(self.sizes[sample_id]), int(self.offsets[sample_id])
        with suppress(OSError):
            shard = open_shard(self.shards[self.shard_of[sample_id]], self.fingerprint)
            os.posix_fadvise(shard.descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    def describe(self, sample_id: int) -> str:
        """The shard, the member and the byte where its data begins."""
        shard = self.shards[self.shard_of[sample_id]]
        place = f"{shard}: key {self.members[sample_id]} at byte {self.offsets[sample_id]}"
        return place if self.origin is None else f"{self.origin.describe(sample_id)} (packed into {place})"

    def encoded_bytes(self) -> int:
        """Bytes of all encoded images together."""
        return int(self.sizes.sum())

    def files(self) -> tuple[Path, ...]:
        """The tars."""
        return tuple(Path(shard) for shard in dict.fromkeys(self.shards))


@cache
def _checksums(path: str, samples: int, fingerprint: str) -> NDArray[np.uint32] | None:  # noqa: ARG001 - as below
    return open_checksums(path, samples)


@cache
def _index_file(path: str, samples: int, fingerprint: str) -> ShardIndexFile | None:  # noqa: ARG001 - an index that changed is read anew
    return open_shard_index(path, samples)
