"""What is kept beside a packed shard about each of its samples: a checksum, its size, its restart intervals.

``shard-000000.samples.npy`` holds a record for each sample in the order of the shard,
``shard-000000.intervals.npy`` the lengths of all their restart intervals one after another (NumPy's npy
format, version 1.0). Other readers of the shards need neither.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.cache import whole_file
from throughput.errors import SourceError
from throughput.sources.npy import read_vector

_RECORD = np.dtype(
    [
        ("checksum", "<u4"),
        ("height", "<u2"),
        ("width", "<u2"),
        ("first_interval", "<u8"),
        ("intervals", "<u4"),
    ]
)
_LONGEST_INTERVAL = 0xFFFF
_NO_INTERVALS = np.empty(0, np.uint16)
_NO_INTERVALS.flags.writeable = False


class SampleRecord(NamedTuple):
    """checksum: CRC-32 (ITU-T V.42) of the encoded image. height, width: pixels; 0 where it is no plain JPEG.

    interval_bytes: each restart interval's bytes without the marker behind it, 1-D; empty where there are
    none, or one is too long to be kept.
    """

    checksum: int
    height: int
    width: int
    interval_bytes: NDArray[Any] = _NO_INTERVALS


@dataclass(frozen=True, eq=False)
class ShardIndexFile:
    """The records of a shard's samples, in the order of the shard."""

    records: NDArray[np.void]
    interval_bytes: NDArray[np.uint16]

    def record(self, place: int) -> SampleRecord:
        """The record of the sample at a place in the shard."""
        checksum, height, width, first, count = self.records[place].item()
        return SampleRecord(checksum, height, width, self.interval_bytes[first : first + count])


@dataclass(frozen=True, eq=False)
class SampleIndex:
    """What is kept about the samples of a set of shards, to be looked up for many of them at once.

    records: (N,), by id. shard_of: (N,). interval_bytes: each shard's; None where it has no index.
    """

    records: NDArray[np.void]
    shard_of: NDArray[np.int32]
    interval_bytes: tuple[NDArray[np.uint16] | None, ...]

    def look_up(self, ids: NDArray[np.int64]) -> list[SampleRecord | None]:
        """What is kept about each of some samples."""
        found: list[SampleRecord | None] = []
        for shard, record in zip(self.shard_of[ids].tolist(), self.records[ids].tolist(), strict=True):
            checksum, height, width, first, count = record
            lengths = self.interval_bytes[shard]
            if lengths is None:
                found.append(None)
            else:
                found.append(SampleRecord(checksum, height, width, lengths[first : first + count]))
        return found


def join_indexes(
    indexes: Sequence[ShardIndexFile | None], ids: Sequence[NDArray[np.int64]], shard_of: NDArray[np.int32]
) -> SampleIndex:
    """The indexes of shards as one. ids: of each shard's samples, in the order of the shard."""
    records = np.zeros(len(shard_of), _RECORD)
    for index, shard_ids in zip(indexes, ids, strict=True):
        if index is not None:
            records[shard_ids] = index.records
    return SampleIndex(
        records, shard_of, tuple(None if index is None else index.interval_bytes for index in indexes)
    )


def write_shard_index(shard: Path, records: Sequence[SampleRecord]) -> None:
    """Write what is kept about the samples of ``shard``, in the order of the shard."""
    kept = [
        one.interval_bytes
        if one.interval_bytes.max(initial=0) <= _LONGEST_INTERVAL
        else one.interval_bytes[:0]
        for one in records
    ]
    table = np.zeros(len(records), _RECORD)
    table["checksum"] = [one.checksum for one in records]
    table["height"] = [one.height for one in records]
    table["width"] = [one.width for one in records]
    table["intervals"] = [len(lengths) for lengths in kept]
    table["first_interval"][1:] = np.cumsum(table["intervals"], dtype=np.uint64)[:-1]
    lengths = np.concatenate([*kept, np.empty(0, np.uint16)]).astype("<u2")
    for path, array in zip(_paths(shard), (table, lengths), strict=True):
        with whole_file(path) as file:
            np.save(file, array, allow_pickle=False)


def open_shard_index(shard: str, samples: int) -> ShardIndexFile | None:
    """What is kept about the ``samples`` of a shard; None where nothing is, or a part of it is missing.

    Raises SourceError where it misfits.
    """
    paths = _paths(Path(shard))
    try:
        # Read, not mapped: each map holds a file descriptor, and a data set may have thousands of shards.
        records, lengths = (
            _read(path, dtype) for path, dtype in zip(paths, (_RECORD, np.dtype("<u2")), strict=True)
        )
    except FileNotFoundError:
        return None  # not copied along, or packed by a version that kept nothing
    except (OSError, ValueError) as error:
        raise SourceError(
            f"cannot read the index of {shard}, {paths[0].name} and {paths[1].name} beside it ({error}): "
            f"pack the images again"
        ) from error
    # In this order: the sum of both could be too large for its type, and seem small.
    first, room = records["first_interval"], np.uint64(len(lengths))
    if len(records) != samples or (first > room).any() or (records["intervals"] > room - first).any():
        raise SourceError(
            f"the index of {shard} ({paths[0].name} beside it) is not of this shard: pack the images again"
        )
    lengths.flags.writeable = False  # kernels are compiled once, for arrays that are only read
    return ShardIndexFile(records, lengths)


def open_checksums(shard: str, samples: int) -> NDArray[np.uint32] | None:
    """The checksums of the ``samples`` of a shard, (samples,) uint32, in their order.

    None where none are kept. Raises SourceError where they misfit.
    """
    path, _ = _paths(Path(shard))
    try:
        records = _read(path, _RECORD)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path} ({error}): pack the images again") from error
    if len(records) != samples:
        raise SourceError(
            f"the index of {shard} ({path.name} beside it) is not of this shard: pack the images again"
        )
    return np.ascontiguousarray(records["checksum"])


def samples_in_index(shard: str) -> int | None:
    """How many samples the index beside a shard tells of; None where there is none that can be read."""
    try:
        return len(_read(_paths(Path(shard))[0], _RECORD))
    except (OSError, ValueError):
        return None


def index_names(shard_name: str) -> tuple[str, str]:
    """Names of the files of an index, by the name of its shard."""
    records, lengths = _paths(Path(shard_name))
    return records.name, lengths.name


def _read(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path.name} is no file")
    with path.open("rb") as file:
        return read_vector(file, status.st_size, dtype)


def has_index(shard: str) -> bool:
    """Whether the files of an index lie beside a shard."""
    return all(path.is_file() for path in _paths(Path(shard)))


def _paths(shard: Path) -> tuple[Path, Path]:
    return shard.with_suffix(".samples.npy"), shard.with_suffix(".intervals.npy")
