"""One shard of a packing: its members in a tar, and what is kept about each of its samples."""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.cache import whole_file
from throughput.contracts import Source
from throughput.jpeg.header import read_frame
from throughput.measure.environment import usable_cores
from throughput.sources.ahead import ids_told_ahead
from throughput.sources.checksum import checksum
from throughput.sources.manifest import PackedShard
from throughput.sources.names import image_extension
from throughput.sources.shard_index import SampleRecord
from throughput.sources.tar import BLOCK_BYTES, padded
from throughput.threads import in_threads

_SINGLE_FILE = 1.3
"""How many times the growth that is allowed to a shard one image may take: others take less, or shrink."""
_READERS = 4
"""Threads that read images ahead of the writing: a disk or network answers several at once sooner."""
_TOLD_EVERY = 64  # samples
_END = bytes(2 * BLOCK_BYTES)


class _Sample(NamedTuple):
    """An image to be written. before_bytes: of the original. kind: what that was, if anybody looked."""

    data: bytes
    before_bytes: int
    kind: str
    record: SampleRecord


class _Written(NamedTuple):
    """What a shard has become. bytes: before and after, of progressive images and of all others."""

    shard: PackedShard
    records: list[SampleRecord]
    before_bytes: int
    after_bytes: int


def write_shard(
    root: Path,
    name: str,
    ids: NDArray[np.int64],
    source: Source,
    growth: float | None,
    told: Callable[[int], None],
) -> tuple[PackedShard, list[SampleRecord]]:
    """Write samples to the shard ``name`` below ``root``, with restart intervals unless ``growth`` is None.

    The images that are not progressive take no more than that share more bytes together: where a few more
    for some of them come out as too many, the shard is written once more with none for any. ``told`` hears
    how many samples are done.
    """
    with whole_file(root / name) as file:
        written = _write(file, name, ids, source, growth and _SINGLE_FILE * growth, told)
        if growth is not None and written.after_bytes > (1 + growth) * written.before_bytes:
            file.seek(0)
            file.truncate()
            written = _write(file, name, ids, source, growth, told)
    return written.shard, written.records


def _write(
    file: IO[bytes],
    name: str,
    ids: NDArray[np.int64],
    source: Source,
    growth: float | None,
    told: Callable[[int], None],
) -> _Written:
    digest = hashlib.sha256()
    numbers = ids.tolist()
    kinds: Counter[str] = Counter()
    records = []
    before_bytes: Counter[bool] = Counter()
    after_bytes: Counter[bool] = Counter()
    read, threads = _reader(source, growth)
    with closing(in_threads(read, ids_told_ahead(source, [ids]), threads)) as samples:
        for done, (sample_id, sample) in enumerate(zip(numbers, samples, strict=True), start=1):
            label = b"%d" % source.labels[sample_id]
            for data in (
                _member(f"{sample_id:09d}.{image_extension(sample.data)}", sample.data),
                _member(f"{sample_id:09d}.cls", label),
            ):
                digest.update(data)
                file.write(data)
            kinds.update([sample.kind] if sample.kind else [])
            before_bytes[sample.kind == "progressive"] += sample.before_bytes
            after_bytes[sample.kind == "progressive"] += len(sample.data)
            records.append(sample.record)
            if done % _TOLD_EVERY == 0 or done == len(ids):
                told(done)
    digest.update(_END)
    file.write(_END)
    shard = PackedShard(
        name,
        len(ids),
        file.tell(),
        digest.hexdigest(),
        dict(kinds),
        progressive_bytes=before_bytes[True],
        converted_bytes=after_bytes[True],
    )
    return _Written(shard, records, before_bytes[False], after_bytes[False])


def _reader(source: Source, growth: float | None) -> tuple[Callable[[int], _Sample], int]:
    """What makes a sample ready to be written, and in how many threads."""
    if growth is None:
        return lambda sample_id: _as_it_is(source.read(sample_id)), _READERS
    from throughput.jpeg.transcode import transcode

    def transcoded(sample_id: int) -> _Sample:
        data = source.read(sample_id)
        found = transcode(data, growth)
        record = SampleRecord(checksum(found.data), found.height, found.width, found.interval_bytes)
        return _Sample(found.data, len(data), found.kind, record)

    return transcoded, max(_READERS, usable_cores())


def _as_it_is(data: bytes) -> _Sample:
    frame = read_frame(data)
    height, width = (frame.height, frame.width) if frame else (0, 0)
    return _Sample(data, len(data), "", SampleRecord(checksum(data), height, width))


def _member(name: str, data: bytes) -> bytes:
    """A header and data, padded to whole blocks."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return b"".join((info.tobuf(tarfile.USTAR_FORMAT), data, bytes(padded(len(data)) - len(data))))
