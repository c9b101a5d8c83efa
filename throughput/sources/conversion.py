"""A packed copy of a source in the cache folder, for a loader that reads shards only."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from throughput.cache import CACHE_LIMIT_BYTES, cache_folder, require_room
from throughput.contracts import Progress, Source, no_progress
from throughput.errors import RoomError, SourceError
from throughput.sources.manifest import MANIFEST
from throughput.sources.opening import open_source
from throughput.sources.pack import pack
from throughput.sources.shards import ShardSource


@dataclass(frozen=True)
class PackedCopy:
    """source: the shards, with the ids of the original. seconds: 0 where the copy was there already."""

    source: ShardSource
    seconds: float
    bytes: int
    folder: str


def packed_copy(source: Source, progress: Progress = no_progress, growth: float | None = None) -> PackedCopy:
    """Pack ``source`` into the cache folder, once; with ``growth``, with restart intervals (see ``pack``).

    Raises RoomError for a source of more than CACHE_LIMIT_BYTES or a disk without room for it.
    """
    name = source.fingerprint if growth is None else f"{source.fingerprint}-{growth:g}"
    folder = cache_folder("packed", name)
    seconds = 0.0 if (folder / MANIFEST).is_file() else _pack(source, folder, growth, progress)
    try:
        packed = open_source(folder, progress=progress)
    except SourceError:
        # Somebody has damaged the copy. It is ours to make again.
        shutil.rmtree(folder)
        folder.mkdir()
        seconds = _pack(source, folder, growth, progress)
        packed = open_source(folder, progress=progress)
    if not isinstance(packed, ShardSource):
        raise RoomError(f"{folder} holds something else than packed shards: remove it")
    size_bytes = sum(file.stat().st_size for file in folder.rglob("*.tar"))
    return PackedCopy(replace(packed, origin=source), seconds, size_bytes, str(folder))


def _pack(source: Source, folder: Path, growth: float | None, progress: Progress) -> float:
    """Pack into ``folder`` and return the seconds that it took."""
    restart = "" if growth is None else " --restart"
    advice = f"run: throughput pack{restart} {source.location} OUT, then give OUT as --data"
    needed_bytes = source.encoded_bytes()
    if needed_bytes > CACHE_LIMIT_BYTES:
        raise RoomError(
            f"{source.location} holds {needed_bytes / 1e9:.1f} GB and only "
            f"{CACHE_LIMIT_BYTES / 1e9:.0f} GB are packed into the cache folder unasked; {advice}"
        )
    try:
        require_room(folder, needed_bytes, f"a packed copy of {source.location}")
    except RoomError as error:
        raise RoomError(f"{error}; {advice} on a larger disk") from error
    progress(f"packing {needed_bytes / 1e6:,.0f} MB of {source.location} into {folder}", 0, None)
    begin = time.perf_counter()
    try:
        pack(source, folder, growth=growth, progress=progress)
    except RoomError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return time.perf_counter() - begin
