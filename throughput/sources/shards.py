"""Images in WebDataset tar shards, each read by its place."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Progress, Source, Split, no_progress
from throughput.errors import SampleError, SourceError
from throughput.sources.index import ShardIndex, shard_index, shards_fingerprint
from throughput.sources.manifest import Manifest, is_validation, manifest_above
from throughput.sources.names import Names
from throughput.sources.scan import key_of
from throughput.sources.shard_index import (
    SampleIndex,
    SampleRecord,
    ShardIndexFile,
    join_indexes,
    open_shard_index,
)
from throughput.sources.splits import checked_parts, seeded_validation, split_ids

_ID = re.compile(r"[0-9]{1,18}")
_FEWEST_OPEN, _MOST_OPEN = 64, 1024
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class ShardSource(Source):
    """Images in tar shards.

    shards: paths. members: N names of image members. shard_of: (N,) int32 index into ``shards``.
    offsets, sizes: (N,) int64, the bytes of the encoded image in its shard.
    parts: (N,) int8, as for ``with_parts``.
    origin: the source that these shards are a packed copy of, which is where the user will look.
    growth: the packing's, where it gave the JPEGs restart intervals. indexed: whether an index may lie
    beside each shard.
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
        """The encoded image. Raises SampleError naming the shard, the member and its byte offset."""
        data = self._read(sample_id, os.pread)
        self._require_whole(sample_id, len(data))
        return data

    def read_into(self, sample_id: int, room: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The encoded image in what ``room`` gives. Raises SampleError as ``read`` does.

        Read, not mapped: a shard that is cut while it is mapped ends the process without a word (SIGBUS),
        pages that are mapped cannot be evicted for a cold pass, and each of Python's maps holds a descriptor.
        """
        data = room(int(self.sizes[sample_id]))
        found = self._read(sample_id, lambda shard, _, offset: os.preadv(shard, [data.data], offset))
        self._require_whole(sample_id, found)
        data.flags.writeable = False
        return data

    def _read(self, sample_id: int, read: Callable[[int, int, int], Found]) -> Found:
        """What ``read`` finds, given the descriptor of the sample's shard, its size and its offset."""
        try:
            shard = _open(self.shards[self.shard_of[sample_id]], self.fingerprint)
            return read(shard.descriptor, int(self.sizes[sample_id]), int(self.offsets[sample_id]))
        except OSError as error:
            raise SampleError(self.describe(sample_id), f"cannot be read: {error.strerror}") from error

    def _require_whole(self, sample_id: int, found_bytes: int) -> None:
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

    def advise(self, sample_id: int) -> None:
        """Have the kernel read a sample ahead (posix_fadvise(2)); whoever reads it hears of what is wrong."""
        size, offset = int(self.sizes[sample_id]), int(self.offsets[sample_id])
        with suppress(OSError):
            shard = _open(self.shards[self.shard_of[sample_id]], self.fingerprint)
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


class _OpenShard:
    """A file descriptor that closes with its last user: a thread may read while another drops it."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        # Absent where opening failed.
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _open_shards() -> int:
    """How many shards a process keeps open: a quarter of the files that it may, within reason."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return _MOST_OPEN
    return min(max(most // 4, _FEWEST_OPEN), _MOST_OPEN)


@lru_cache(maxsize=_open_shards())
def _open(path: str, fingerprint: str) -> _OpenShard:  # noqa: ARG001 - a shard that changed is opened anew
    """An open shard of this process. A fork inherits it, which is safe: pread has no position to share."""
    return _OpenShard(path)


@cache
def _index_file(path: str, samples: int, fingerprint: str) -> ShardIndexFile | None:  # noqa: ARG001 - an index that changed is read anew
    return open_shard_index(path, samples)


def open_shards(
    location: str,
    shards: Sequence[str],
    validation_from: int | None = None,
    label_field: str | None = None,
    progress: Progress = no_progress,
    split_fraction: float | None = None,
) -> ShardSource:
    """Index shards; ids follow their order.

    validation_from: the first shard of the val split; None: ``split_fraction`` of each class is held out.
    Raises SourceError for a damaged shard, or a sample without image or label.
    """
    shards = [str(Path(shard).absolute()) for shard in shards]
    fingerprint = shards_fingerprint(shards, label_field)
    index = shard_index(shards, label_field, fingerprint, progress)
    if validation_from is None:
        validation = seeded_validation(index.labels, split_fraction)
    else:
        validation = index.shard_of >= validation_from
    source = _source(
        location, (*shards,), fingerprint, index=index, classes=_classes(index, shards), validation=validation
    )
    return _as_packed(source)


def _as_packed(source: ShardSource) -> ShardSource:
    """With restart intervals and an index, where the manifests above say so of every folder of shards."""
    of_folders = {shard.parent: shard for shard in source.files()}
    manifests = [manifest_above(shard) for shard in of_folders.values()]
    growths = [one.growth for one in manifests if one is not None and one.growth is not None]
    return replace(source, growth=max(growths), indexed=True) if len(growths) == len(manifests) else source


def open_packed(
    location: str,
    root: Path,
    manifest: Manifest,
    progress: Progress = no_progress,
    split_fraction: float | None = None,
) -> ShardSource:
    """Shards that ``pack`` wrote: ids, labels, classes and splits are those of their source.

    split_fraction: held out of each class, where the source brought no split.
    Raises SourceError for a shard that is missing or was altered.
    """
    if not manifest.shards:
        raise SourceError(f"the manifest of {root} names no shard: pack the images again")
    shards = [str(root.absolute() / shard.name) for shard in manifest.shards]
    for path, shard in zip(shards, manifest.shards, strict=True):
        _require_whole(path, shard.bytes)
    fingerprint = shards_fingerprint(shards, None)
    index = shard_index(shards, None, fingerprint, progress)
    keys = [key_of(member) for member in (index.members[i] for i in range(len(index.members)))]
    ids = np.array([int(key) if _ID.fullmatch(key) else -1 for key in keys], dtype=np.int64)
    if len(ids) != manifest.samples or not np.array_equal(np.sort(ids), np.arange(len(ids))):
        raise SourceError(
            f"the shards in {root} do not hold the samples of their manifest: pack the images again"
        )
    if index.class_names or int(index.labels.max()) >= len(manifest.classes):
        raise SourceError(f"labels in {root} are no classes of its manifest: pack the images again")
    order = np.argsort(ids)
    members = Names.of(index.members[int(place)] for place in order)
    ordered = ShardIndex(
        members, index.shard_of[order], index.offsets[order], index.sizes[order], index.labels[order], ()
    )
    if manifest.splits == "seeded":
        validation = seeded_validation(ordered.labels, split_fraction)
    else:
        held_out = np.array([is_validation(shard.name) for shard in manifest.shards])
        validation = held_out[ordered.shard_of]
    source = _source(
        location, (*shards,), fingerprint, index=ordered, classes=manifest.classes, validation=validation
    )
    return replace(source, growth=manifest.growth, indexed=True)


def _source(
    location: str,
    shards: tuple[str, ...],
    fingerprint: str,
    *,
    index: ShardIndex,
    classes: tuple[str, ...],
    validation: NDArray[np.bool_],
) -> ShardSource:
    return ShardSource(
        location,
        classes,
        index.labels,
        fingerprint,
        shards,
        index.members,
        index.shard_of,
        index.offsets,
        index.sizes,
        validation.astype(np.int8),
    )


def _classes(index: ShardIndex, shards: Sequence[str]) -> tuple[str, ...]:
    """Class names from the labels; numbers take their names from the manifest above, where one is."""
    if index.class_names:
        return index.class_names
    count = int(index.labels.max()) + 1
    manifest = manifest_above(Path(shards[0]))
    if manifest is not None and len(manifest.classes) >= count:
        return manifest.classes
    return tuple(str(number) for number in range(count))


def _require_whole(path: str, size_bytes: int) -> None:
    try:
        found_bytes = Path(path).stat().st_size
    except OSError as error:
        raise SourceError(
            f"cannot read the shard {path}, which its manifest names: {error.strerror}; pack the images again"
        ) from error
    if found_bytes != size_bytes:
        raise SourceError(
            f"the shard {path} was altered: it has {found_bytes} bytes and its manifest says {size_bytes}; "
            f"pack the images again"
        )
