"""A packed copy of a source in the cache folder, for a loader that reads shards only."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from throughput.cache import CACHE_LIMIT_BYTES, cache_folder, require_own, require_room
from throughput.contracts import OnError, Progress, Source, Split, no_progress
from throughput.errors import RoomError, SampleError, SourceError
from throughput.sources.arrays import ARRAY_EXTENSION
from throughput.sources.manifest import MANIFEST
from throughput.sources.opening import open_source
from throughput.sources.pack import pack
from throughput.sources.remote.retrying import RemoteError
from throughput.sources.shards import ShardSource
from throughput.sources.splits import parts_of


@dataclass(frozen=True)
class PackedCopy:
    """source: the shards, with the ids, labels, classes and split of the original.

    seconds: 0 where the copy was there already.
    """

    source: ShardSource
    seconds: float
    bytes: int
    folder: str


def packed_copy(
    source: Source,
    progress: Progress = no_progress,
    growth: float | None = None,
    on_error: OnError = "raise",
) -> PackedCopy:
    """Pack ``source`` into the cache folder, once; with ``growth``, with restart intervals (see ``pack``).

    on_error: of the work; unless it raises, what cannot be read is empty in the copy, and told by whoever
    reads that. Raises RoomError for a source of more than CACHE_LIMIT_BYTES or a disk without room for it,
    CacheError, and SampleError.
    """
    name = source.fingerprint if growth is None else f"{source.fingerprint}-{growth:g}"
    with_gaps = cache_folder("packed") / f"{name}-bad"
    if on_error != "raise" and (with_gaps / MANIFEST).is_file():
        # Else all images before the first bad one would be packed again, at every preparation.
        copy = _copy(_Readable(source), with_gaps.name, growth, progress)
        if not _is_out_of_date(copy.source, source):
            return copy
        shutil.rmtree(with_gaps)
    try:
        return _copy(source, name, growth, progress)
    except SampleError:
        if on_error == "raise":
            raise
    return _copy(_Readable(source), with_gaps.name, growth, progress)


def _is_out_of_date(copy: ShardSource, source: Source) -> bool:
    """Whether a sample that is empty in the copy can be read by now: files are repaired without a trace."""
    readable = _Readable(source)
    return any(readable.read(sample) for sample in np.flatnonzero(copy.sizes == 0).tolist())


def _copy(source: Source, name: str, growth: float | None, progress: Progress) -> PackedCopy:
    folder = cache_folder("packed", name)
    for kept in folder.rglob("*"):
        require_own(kept)
    try:
        seconds = 0.0 if (folder / MANIFEST).is_file() else _pack(source, folder, growth, progress)
        packed = open_source(folder, progress=progress)
    except SampleError:
        raise  # the image is the user's
    except SourceError:
        seconds, packed = _again(source, folder, growth, progress)
    if not isinstance(packed, ShardSource):
        raise RoomError(f"{folder} holds something else than packed shards: remove it")
    size_bytes = sum(file.stat().st_size for file in folder.rglob("*.tar"))
    # One copy serves however the images are split, and whatever is to be predicted of them.
    same = replace(
        packed,
        origin=source,
        labels=source.labels,
        classes=source.classes,
        parts=parts_of(source),
        channels=source.channels,
    )
    return PackedCopy(same, seconds, size_bytes, str(folder))


def _again(source: Source, folder: Path, growth: float | None, progress: Progress) -> tuple[float, Source]:
    """The copy that another process has finished meanwhile; else, a new one.

    Somebody has damaged the old one, or a packing for another split was stopped. It is ours to make again.
    """
    if (folder / MANIFEST).is_file():
        with suppress(SourceError):
            return 0.0, open_source(folder, progress=progress)
    shutil.rmtree(folder)
    folder.mkdir()
    seconds = _pack(source, folder, growth, progress)
    return seconds, open_source(folder, progress=progress)


class _Same(Source):
    """A source as it is; what differs is told by those below."""

    def __init__(self, source: Source) -> None:
        self.location, self.fingerprint = source.location, source.fingerprint
        self.classes, self.labels, self.channels = source.classes, source.labels, source.channels
        self._source = source

    def ids(self, split: Split) -> NDArray[np.int64]:
        return self._source.ids(split)

    def forget(self) -> None:
        self._source.forget()

    def read(self, sample_id: int) -> bytes:
        return self._source.read(sample_id)

    def ahead_bytes(self) -> int:
        return self._source.ahead_bytes()

    def expect(self, ids: NDArray[np.int64]) -> None:
        self._source.expect(ids)

    def describe(self, sample_id: int) -> str:
        return self._source.describe(sample_id)

    def encoded_bytes(self) -> int:
        return self._source.encoded_bytes()

    def files(self) -> tuple[Path, ...]:
        return self._source.files()


class _Readable(_Same):
    """Images that cannot be read are empty."""

    def read(self, sample_id: int) -> bytes:
        try:
            return self._source.read(sample_id)
        except SampleError as error:
            if isinstance(error.__cause__, RemoteError):
                raise  # the server may be back the next time, and the copy is kept
            return b""


class _ToPack(_Same):
    """As shards can hold it: in train and the rest, with one class where it has targets."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if not source.classes:
            self.classes, self.labels = ("",), np.zeros(len(source.labels), np.int64)

    def ids(self, split: Split) -> NDArray[np.int64]:
        train = self._source.ids("train")
        return train if split == "train" else np.setdiff1d(np.arange(len(self.labels)), train)


def _pack(source: Source, folder: Path, growth: float | None, progress: Progress) -> float:
    """Pack into ``folder`` and return the seconds that it took."""
    restart = "" if growth is None else " --restart"
    advice = f"run: throughput pack{restart} {source.location} OUT, then give OUT as --data"
    if not source.classes or str(source.location).endswith(ARRAY_EXTENSION):
        advice = "choose a loader that reads single images, such as torchvision"
    needed_bytes = source.encoded_bytes()
    if needed_bytes > CACHE_LIMIT_BYTES:
        raise RoomError(
            f"{source.location} holds {needed_bytes / 1e9:.1f} GB and only "
            f"{CACHE_LIMIT_BYTES / 1e9:.0f} GB are packed into the cache folder unasked; {advice}"
        )
    try:
        require_room(folder, needed_bytes, f"a packed copy of {source.location}")
    except RoomError as error:
        on_a_larger_disk = " on a larger disk" if "OUT" in advice else ""
        raise RoomError(f"{error}; {advice}{on_a_larger_disk}") from error
    progress(f"packing {needed_bytes / 1e6:,.0f} MB of {source.location} into {folder}", 0, None)
    begin = time.perf_counter()
    try:
        pack(_ToPack(source), folder, growth=growth, progress=progress)
    except RoomError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return time.perf_counter() - begin
