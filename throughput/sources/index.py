"""Where each sample of a set of shards lies: found by one scan, then kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughput.cache import cache_folder, require_own, whole_file
from throughput.contracts import Progress
from throughput.errors import RoomError, SourceError
from throughput.sources.names import Names
from throughput.sources.npy import read_vector
from throughput.sources.scan import MAX_CLASSES, ShardScan, scan_shard
from throughput.threads import in_threads

INDEX = "index.npz"
"""Beside a manifest: where the samples of the packing lie, for who cannot scan its shards quickly."""
_VERSION = 1
_COLUMNS: dict[str, type[np.generic]] = {
    "blob": np.uint8,
    "ends": np.int64,
    "shard_of": np.int32,
    "offsets": np.int64,
    "sizes": np.int64,
    "labels": np.int64,
    "class_names": np.uint8,
    "packing": np.uint8,
}
_THREADS = 8
"""Scanning waits for the disk: threads help on a slow one and cost little on a fast one."""


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The N samples of some shards, in the order of the shards and of the file.

    members: names of the image members. shard_of: (N,) int32 index of the shard.
    offsets, sizes: (N,) int64, where the encoded image lies in its shard. labels: (N,) int64.
    class_names: the classes where labels came as names, sorted; empty where they came as numbers.
    """

    members: Names
    shard_of: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


def shards_fingerprint(shards: Sequence[str], label_field: str | None) -> str:
    """A hex digest of the shards' places, sizes and modification times, and of what is read as label."""
    facts: list[object] = [_VERSION, label_field]
    for shard, (size_bytes, modified_ns) in zip(shards, shard_stamps(shards), strict=True):
        facts.append((os.path.realpath(shard), size_bytes, modified_ns))
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def shard_stamps(shards: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Size in bytes and time of modification in ns of each shard. Raises SourceError."""
    stamps = []
    for shard in shards:
        try:
            status = os.stat(shard)  # noqa: PTH116 - a Path for each of many shards gains nothing
        except OSError as error:
            raise SourceError(f"cannot read {shard}: {error.strerror}") from error
        stamps.append((status.st_size, status.st_mtime_ns))
    return tuple(stamps)


def shard_index(
    shards: Sequence[str],
    label_field: str | None,
    fingerprint: str,
    progress: Progress,
    scan: Callable[[str], ShardScan] | None = None,
    shard_bytes: Sequence[int] | None = None,
) -> ShardIndex:
    """The index of the shards, from the cache folder or else from a scan. Raises SourceError.

    scan, shard_bytes: how one is scanned, and the size of each, where they are no files on this machine.
    """
    path = cache_folder("index") / f"{fingerprint}.npz"
    kept = read_index(path)
    sizes = [size_bytes for size_bytes, _ in shard_stamps(shards)] if shard_bytes is None else shard_bytes
    if kept is not None and is_sound(kept, sizes):
        return kept
    index = _scan(shards, scan or partial(scan_shard, label_field=label_field), progress)
    # The index only saves the next scan: a full or read-only cache folder is no reason to stop.
    with suppress(OSError, RoomError):
        write_index(index, path)
    return index


def scan_shards(shards: Sequence[str], progress: Progress) -> ShardIndex:
    """The index of shards on this machine by a scan. Raises SourceError."""
    return _scan(shards, partial(scan_shard, label_field=None), progress)


def _scan(shards: Sequence[str], scan_one: Callable[[str], ShardScan], progress: Progress) -> ShardIndex:
    scans: list[ShardScan] = []
    with closing(in_threads(scan_one, shards, min(_THREADS, len(shards)))) as scanned:
        for scan in scanned:
            scans.append(scan)
            progress("scanning shards", len(scans), len(shards))
    labels = [label for scan in scans for label in scan.labels]
    names = sorted({label for label in labels if isinstance(label, str)})
    numbers = {label for label in labels if isinstance(label, int)}
    if names and numbers:
        raise SourceError(
            f"the shards' labels are mixed, numbers such as {min(numbers)} and names such as {names[0]!r}: "
            f"make them one kind, or name the .json field that holds the class with --label-field"
        )
    number_of = {name: number for number, name in enumerate(names)}
    return ShardIndex(
        Names.of(member for scan in scans for member in scan.members),
        np.repeat(np.arange(len(scans), dtype=np.int32), [len(scan.members) for scan in scans]),
        np.array([offset for scan in scans for offset in scan.offsets], dtype=np.int64),
        np.array([size for scan in scans for size in scan.sizes], dtype=np.int64),
        np.array([number_of[label] if isinstance(label, str) else label for label in labels], dtype=np.int64),
        tuple(names),
    )


def write_index(index: ShardIndex, path: Path, packing: str = "") -> None:
    """Write it whole or not at all (NumPy's npz format). packing: the digest of the one that it is of."""
    class_names = json.dumps(index.class_names).encode()
    with whole_file(path) as file:
        np.savez(
            file,
            blob=np.frombuffer(index.members.blob, dtype=np.uint8),
            ends=index.members.ends,
            shard_of=index.shard_of,
            offsets=index.offsets,
            sizes=index.sizes,
            labels=index.labels,
            class_names=np.frombuffer(class_names, dtype=np.uint8),
            packing=np.frombuffer(packing.encode(), dtype=np.uint8),
        )


def read_index(path: Path, packing: str = "") -> ShardIndex | None:
    """A kept index, or None where there is none or it is damaged: then it is made again.

    packing: the digest of a packing, where an index of any other counts as damaged.
    Raises CacheError for one that somebody else may have put there.
    """
    if not path.exists():
        return None
    require_own(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size_bytes = path.stat().st_size
            if packing:
                found = _column(archive.getinfo("packing.npy"), archive, size_bytes)
                if found.tobytes() != packing.encode():
                    return None
            columns = {
                name: _column(archive.getinfo(f"{name}.npy"), archive, size_bytes)
                for name in _COLUMNS
                if name != "packing"
            }
        class_names = tuple(json.loads(columns["class_names"].tobytes()))
    except Exception:  # noqa: BLE001 - a damaged archive fails in any way
        return None
    return ShardIndex(
        Names(columns["blob"].tobytes(), columns["ends"]),
        columns["shard_of"],
        columns["offsets"],
        columns["sizes"],
        columns["labels"],
        class_names,
    )


def _column(entry: zipfile.ZipInfo, archive: zipfile.ZipFile, most_bytes: int) -> NDArray[Any]:
    """An array of the archive. Raises ValueError for one that is packed: it could unpack to any size."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most_bytes:
        raise ValueError(f"{entry.filename} is not as it was written")
    with archive.open(entry) as file:
        return read_vector(file, entry.file_size, _COLUMNS[entry.filename.removesuffix(".npy")])


def is_sound(index: ShardIndex, shard_bytes: Sequence[int]) -> bool:
    """Whether all that an index says can be: it decides what is read, and how much."""
    ends, count = index.members.ends, len(index.labels)
    columns = (ends[1:], index.shard_of, index.offsets, index.sizes)
    if not count or len(ends) != count + 1 or any(len(column) != count for column in columns):
        return False
    if ends[0] != 0 or ends[-1] != len(index.members.blob) or (np.diff(ends) < 0).any():
        return False
    if index.shard_of.min() < 0 or index.shard_of.max() >= len(shard_bytes):
        return False
    room = np.array(shard_bytes, np.int64)[index.shard_of] - index.offsets
    if index.offsets.min() < 0 or index.sizes.min() < 0 or (index.sizes > room).any():
        return False
    if not all(isinstance(name, str) for name in index.class_names):
        return False
    classes = len(index.class_names) or MAX_CLASSES
    return bool(index.labels.min() >= 0 and index.labels.max() < classes)
