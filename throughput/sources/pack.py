"""Any source as WebDataset tar shards: ordinary tars of the same bytes, read in sequence.

A shard's members are ``000000123.jpg`` (the id in nine digits, the encoded bytes as they were) and
``000000123.cls`` (the label in ASCII), as POSIX.1-1988 ustar with zero times and owners: the same
source and settings give the same bytes. Beside each shard lies an index of its samples' checksums and
restart intervals.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from throughput.cache import require_room
from throughput.contracts import Progress, Source, Split, no_progress
from throughput.errors import OptionError, RoomError, SourceError
from throughput.sources.folder import entries
from throughput.sources.index import INDEX, scan_shards, write_index
from throughput.sources.manifest import (
    MANIFEST,
    UNFINISHED,
    Manifest,
    PackedShard,
    read_manifest,
    write_manifest,
)
from throughput.sources.shard_index import open_shard_index, write_shard_index
from throughput.sources.shard_writer import write_shard
from throughput.sources.splits import parts_of, seeded_validation
from throughput.sources.tar import BLOCK_BYTES

DEFAULT_SHARD_BYTES = 10**9
MOST_GROWTH = 0.005
"""Share of their bytes by which the images may grow for narrower restart intervals, by default."""
TRANSCODED = ("baseline", "progressive")
"""Kinds of images that are given restart intervals; all others are left as they are."""
_MAX_SAMPLES_PER_SHARD = 10_000
_SHARDS_TO_READ_AT_ONCE = 16
_ORDER_SEED = 20_260_102


@dataclass(frozen=True)
class Packed:
    """What a packing wrote or found done: seconds it took, bytes of all shards, shards and samples.

    kinds: samples by what they were before they were given restart intervals; empty where none were.
    progressive_bytes, converted_bytes: of the progressive images, and of what they became.
    """

    seconds: float
    bytes: int
    shards: int
    samples: int
    kinds: dict[str, int]
    progressive_bytes: int = 0
    converted_bytes: int = 0


@dataclass(frozen=True, eq=False)
class _Plan:
    """A shard to be written. ids: (M,) int64, in the order of its members."""

    name: str
    ids: NDArray[np.int64]


def pack(
    source: Source,
    out: Path,
    *,
    samples_per_shard: int | None = None,
    shard_bytes: int = DEFAULT_SHARD_BYTES,
    growth: float | None = None,
    progress: Progress = no_progress,
) -> Packed:
    """Write every sample of ``source`` to tar shards in ``out``, with a manifest.

    With ``growth``, JPEGs are losslessly given restart intervals, so that regions of them can be decoded
    by themselves. Narrower intervals decode faster and cost bytes: all images together grow by no more than
    that share. Progressive ones are not among them: they become baseline JPEGs, which are larger by some
    per cent and decode in far less time.

    The samples are shuffled by a fixed seed over all shards of a split, because shards of one class each
    train badly. Shards lie in ``train/`` and ``val/`` where the splits are the source's own.
    A split gets as many shards as keep each below about ``shard_bytes`` and 10,000 samples, and 16 (or one
    for each 100 samples, if that is fewer) so that readers can share them; or ``samples_per_shard`` each.

    A packing that was stopped goes on where it was: shards whose size and SHA-256 are those recorded stay.
    Raises SourceError where ``out`` holds something else, SampleError for an image that cannot be read,
    RoomError where the disk is full; no half-written shard is left.
    """
    for name, value in (("samples_per_shard", samples_per_shard), ("shard_bytes", shard_bytes)):
        if value is not None and value < 1:
            raise OptionError(f"{name} must be 1 or more, got {value}")
    if growth is not None and not 0 <= growth <= 1:
        raise OptionError(f"growth (--growth) must lie in 0..1 (0..100 %), got {growth}")
    started = time.perf_counter()
    if not source.classes:
        raise SourceError(
            f"{source.location}: the labels are numbers to predict, and shards hold classes; "
            "train on the arrays themselves"
        )
    seeded = np.array_equal(source.ids("val"), np.flatnonzero(seeded_validation(source.labels)))
    manifest = Manifest(
        source=Path(source.location).resolve().name,
        fingerprint=source.fingerprint if seeded else f"{source.fingerprint}-{_split_digest(source)}",
        samples=len(source.labels),
        classes=source.classes,
        splits="seeded" if seeded else "named",
        samples_per_shard=samples_per_shard,
        shard_bytes=shard_bytes,
        growth=growth,
    )
    if out.resolve().is_relative_to(Path(source.location).resolve()):
        raise SourceError(
            f"{out} lies inside the images' own folder {source.location}: choose one outside it"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone_in(out, progress):
            shards = _write_all(source, out, manifest, progress)
    except OSError as error:
        raise RoomError(f"cannot write to {out}: {error.strerror}; choose another folder") from error
    kinds: Counter[str] = Counter()
    for shard in shards:
        kinds.update(shard.kinds)
    seconds = time.perf_counter() - started
    return Packed(
        seconds,
        sum(shard.bytes for shard in shards),
        len(shards),
        manifest.samples,
        dict(kinds),
        sum(shard.progressive_bytes for shard in shards),
        sum(shard.converted_bytes for shard in shards),
    )


def _split_digest(source: Source) -> str:
    """Of which sample goes where: shards of one split are of no use for another."""
    return hashlib.blake2b(parts_of(source).tobytes(), digest_size=8).hexdigest()


@contextmanager
def _alone_in(folder: Path, progress: Progress) -> Iterator[None]:
    """Wait for another process that packs into the folder: it may well be writing what we want."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another packing into {folder}", 0, None)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_all(source: Source, out: Path, manifest: Manifest, progress: Progress) -> tuple[PackedShard, ...]:
    """Write the shards that are not there yet, recording each, and the manifest last."""
    recorded = _claim(out, manifest)
    to_come_bytes = _tar_bytes(source, manifest.samples) - sum(shard.bytes for shard in recorded.values())
    require_room(out, max(0, to_come_bytes), f"the shards in {out}")
    write_manifest(replace(manifest, shards=tuple(recorded.values())), out / UNFINISHED)
    plans = _plans(source, manifest)
    done_samples = 0
    for plan in plans:
        if not _is_intact(out / plan.name, recorded.get(plan.name)):
            (out / plan.name).parent.mkdir(exist_ok=True)
            told = partial(_tell, progress, done_samples, manifest.samples)
            shard, records = write_shard(out, plan.name, plan.ids, source, manifest.growth, told)
            write_shard_index(out / plan.name, records)
            recorded[plan.name] = shard
            write_manifest(replace(manifest, shards=tuple(recorded.values())), out / UNFINISHED)
        done_samples += len(plan.ids)
        progress("packing", done_samples, manifest.samples)
    shards = tuple(recorded[plan.name] for plan in plans)
    manifest = replace(manifest, shards=shards)
    index = scan_shards([str(out / shard.name) for shard in shards], progress)
    write_index(index, out / INDEX, manifest.digest())
    write_manifest(manifest, out / MANIFEST)
    (out / UNFINISHED).unlink()
    return shards


def _tell(progress: Progress, before: int, samples: int, done: int) -> None:
    progress("packing", before + done, samples)


def _claim(out: Path, manifest: Manifest) -> dict[str, PackedShard]:
    """The shards that are recorded in ``out``. Raises SourceError for a folder that holds something else."""
    recorded: dict[str, PackedShard] = {}
    found = [known for name in (MANIFEST, UNFINISHED) if (known := read_manifest(out / name))]
    for known in found:
        difference = manifest.difference(known)
        if difference is not None:
            what = "--restart or its --growth" if difference == "growth" else difference
            raise SourceError(
                f"{out} holds shards of another packing ({what} differs): choose an empty folder"
            )
        recorded.update({shard.name: shard for shard in known.shards})
    if not found and (others := [entry.name for entry in entries(out)]):
        raise SourceError(f"{out} is not empty (it holds {min(others)}): choose an empty folder")
    if found:
        # Left where a packing was killed while it wrote.
        for leftover in out.rglob(".*.part"):
            leftover.unlink()
    return recorded


def _plans(source: Source, manifest: Manifest) -> list[_Plan]:
    """Every shard of the packing."""
    if manifest.splits == "seeded":
        return _split_plans(source, np.arange(manifest.samples), "", manifest)
    splits: tuple[Split, ...] = ("train", "val")
    return [
        plan for split in splits for plan in _split_plans(source, source.ids(split), f"{split}/", manifest)
    ]


def _split_plans(source: Source, ids: NDArray[np.int64], folder: str, manifest: Manifest) -> list[_Plan]:
    """The shards of the samples ``ids``, in shuffled order."""
    # The raw stream of a bit generator never changes between NumPy versions; permutation() may.
    order = ids[np.argsort(np.random.PCG64(_ORDER_SEED).random_raw(len(ids)), kind="stable")]
    if manifest.samples_per_shard is None:
        count = max(
            -(-_tar_bytes(source, len(ids)) // manifest.shard_bytes),
            -(-len(ids) // _MAX_SAMPLES_PER_SHARD),
            min(_SHARDS_TO_READ_AT_ONCE, len(ids) // 100),
        )
        parts = np.array_split(order, min(count, len(ids))) if len(ids) else []
    else:
        parts = np.split(order, range(manifest.samples_per_shard, len(ids), manifest.samples_per_shard))
    return [_Plan(f"{folder}shard-{number:06d}.tar", part) for number, part in enumerate(parts) if len(part)]


def _tar_bytes(source: Source, samples: int) -> int:
    """About as many bytes as shards with ``samples`` of the source take: three blocks and padding each."""
    overhead_bytes = 3 * BLOCK_BYTES + BLOCK_BYTES // 2
    return samples * (overhead_bytes + source.encoded_bytes() // max(1, len(source.labels)))


def _is_intact(path: Path, shard: PackedShard | None) -> bool:
    """Whether the file has the size and the checksum that were recorded for it."""
    if shard is None or not path.is_file() or path.stat().st_size != shard.bytes:
        return False
    try:
        if open_shard_index(str(path), shard.samples) is None:
            return False
    except SourceError:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
