"""Cases for the readers of sources: tars, their indexes, manifests, arrays. Nothing here imports torch."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from judging import Case, Outcome, refused, require
from mutators import (
    flipped,
    mutated,
    mutated_behind,
    mutated_headers,
    mutated_json,
    with_tar_checksums,
)
from numpy.random import Generator
from PIL import Image

from throughput.contracts import no_progress
from throughput.errors import ThroughputError
from throughput.sources import open_source
from throughput.sources.arrays import open_arrays
from throughput.sources.index import ShardIndex, shard_index, shards_fingerprint
from throughput.sources.manifest import MANIFEST
from throughput.sources.names import IMAGE_EXTENSIONS
from throughput.sources.pack import pack
from throughput.sources.scan import ShardScan, scan_shard
from throughput.sources.shard_index import open_shard_index

_SAMPLE = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)


def image(number: int) -> bytes:
    """A small JPEG, another for each number."""
    data = io.BytesIO()
    Image.new("RGB", (24, 16), (number % 256, 77, 99)).save(data, "JPEG")
    return data.getvalue()


def tar_of(members: list[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar by the standard library."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tar_format) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def class_folders(folder: Path, count: int = 12) -> Path:
    """Images of three classes."""
    for number in range(count):
        home = folder / f"class_{number % 3}"
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{number:04d}.jpg").write_bytes(image(number))
    return folder


def packed(folder: Path, growth: float | None = None) -> Path:
    """The same, packed into two shards or more."""
    out = folder / "packed"
    pack(open_source(class_folders(folder / "images")), out, samples_per_shard=6, growth=growth)
    return out


def _sound_tars(folder: Path) -> list[bytes]:
    plain, labelled, long = [], [], []
    for n in range(3):
        told = json.dumps({"label": n, "caption": "x" * 40}).encode()
        plain += [(f"{n:03d}.jpg", image(n)), (f"{n:03d}.cls", b"1")]
        labelled += [(f"dir.{n}/{n}.json", told), (f"dir.{n}/{n}.png", image(n))]
        long += [(f"{'long' * 40}/né{n}.jpg", image(n)), (f"{'long' * 40}/né{n}.cls", b"a")]
    shards = sorted(packed(folder).glob("*.tar"))
    return [
        tar_of(plain), tar_of(labelled), tar_of(long, tarfile.PAX_FORMAT), tar_of(long, tarfile.GNU_FORMAT),
        *(shard.read_bytes() for shard in shards),
    ]  # fmt: skip


def tars(folder: Path) -> Case:
    """Shards, as ``scan_shard`` lists them."""
    sound = _sound_tars(folder)
    path = folder / "shard.tar"

    def case(rng: Generator) -> Outcome:
        data, other = (sound[int(place)] for place in rng.integers(len(sound), size=2))
        action = rng.integers(4)
        if action == 0:
            data = mutated(rng, data, other)
        elif action == 1:
            data = with_tar_checksums(mutated(rng, data, other))
        elif action == 2:
            data = mutated_headers(rng, data)
        else:
            data = flipped(rng, data)
        path.write_bytes(data)
        try:
            scan = scan_shard(str(path), None)
        except ThroughputError as error:
            return refused(error, path)
        _judge_scan(data, scan)
        return "right"

    return case


def _judge_scan(data: bytes, scan: ShardScan) -> None:
    """Every sample lies in the file, and those that the standard library lists are there by their names."""
    lists = (scan.members, scan.offsets, scan.sizes, scan.labels)
    require(len(set(map(len, lists))) == 1, "lists of other lengths")
    for offset, size in zip(scan.offsets, scan.sizes, strict=True):
        within = offset % 512 == 0 and 512 <= offset <= offset + size <= len(data)
        require(within, f"{size} bytes at {offset}")
    ours = dict(zip(scan.offsets, zip(scan.members, scan.sizes, strict=True), strict=True))
    require(len(ours) == len(scan.offsets), "two samples in one place")
    for offset, (name, size) in _listed(data).items():
        if offset in ours:
            require(ours[offset] == (name, size), f"{ours[offset]} and not {(name, size)}")
    images = {key_and_extension(name)[0] for name, _ in ours.values()}
    for name, _ in _listed(data).values():
        key, extension = key_and_extension(name)
        if extension in IMAGE_EXTENSIONS and not key.rpartition("/")[2].startswith("__"):
            require(key in images, f"{name} is left out without a word")


def key_and_extension(name: str) -> tuple[str, str]:
    """As WebDataset takes a name apart."""
    match = _SAMPLE.fullmatch(name)
    return (match[1], match[2].lower()) if match else (name, "")


def _listed(data: bytes) -> dict[int, tuple[str, int]]:
    """Regular files by the standard library, up to where it gives up; none where it reads headers otherwise.

    It takes a global header's names for those of all members, and GNU's headers to have prefixes.
    """
    found: dict[int, tuple[str, int]] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                if tar.pax_headers:
                    return {}
                header = data[member.offset_data - 512 : member.offset_data]
                gnu_prefix = header[257:263] != b"ustar\0" and header[345:500].strip(b"\0")
                if member.isreg() and not gnu_prefix and not member.name.endswith("/"):
                    found[member.offset_data] = (member.name, member.size)
    except (tarfile.TarError, ValueError, OverflowError, EOFError):
        pass
    return found


def indexes(folder: Path) -> Case:
    """Indexes kept in the cache folder: a damaged one is made again, whatever is in it."""
    shard = folder / "shard.tar"
    shard.write_bytes(_sound_tars(folder)[0])
    fingerprint = shards_fingerprint([str(shard)], None)
    wanted = shard_index([str(shard)], None, fingerprint, no_progress)
    kept = next((folder / "cache/index").glob("*.npz"))
    sound = kept.read_bytes()
    with np.load(kept) as arrays:
        columns = {name: arrays[name] for name in arrays.files}

    def case(rng: Generator) -> Outcome:
        forged = bool(rng.integers(2))
        if forged:
            with kept.open("wb") as file:
                _forged(rng, columns)(file)
        else:
            kept.write_bytes(mutated(rng, sound, sound))
        found = shard_index([str(shard)], None, fingerprint, no_progress)
        same = all(np.array_equal(column, _columns(wanted)[name]) for name, column in _columns(found).items())
        require(same or forged, "a damaged index was taken for a sound one")
        require(len(found.members) == len(found.labels) > 0, "columns of other lengths")
        require(bool((found.offsets >= 0).all() and (found.sizes >= 0).all()), "a place before the file")
        require(bool((found.sizes <= shard.stat().st_size - found.offsets).all()), "a place beyond the file")
        [found.members[place] for place in range(len(found.members))]
        return "right"

    return case


def _columns(index: ShardIndex) -> dict[str, Any]:
    return {
        "blob": np.frombuffer(index.members.blob, np.uint8), "ends": index.members.ends,
        "shard_of": index.shard_of, "offsets": index.offsets, "sizes": index.sizes, "labels": index.labels,
    }  # fmt: skip


def _forged(rng: Generator, columns: dict[str, Any]) -> Callable[[Any], None]:
    """An archive whose checksums are right and whose columns are not."""
    changed = {name: column.copy() for name, column in columns.items()}
    name = str(rng.choice(list(changed)))
    column = changed[name]
    action = rng.integers(4)
    if action == 0 and len(column):
        limits = np.iinfo(column.dtype)
        column[int(rng.integers(len(column)))] = rng.choice([limits.min, limits.max, 0, 1])
    elif action == 1:
        changed[name] = column[: int(rng.integers(len(column) + 1))]
    elif action == 2:
        changed[name] = column.astype(rng.choice(["<f8", "<i2", "<U3", "<c16"]))
    else:
        del changed[name]
    write = np.savez_compressed if rng.integers(4) == 0 else np.savez
    return lambda file: write(file, **changed)


def sample_indexes(folder: Path) -> Case:
    """What lies beside a packed shard."""
    shard = sorted(packed(folder).glob("*.tar"))[0]
    paths = [shard.with_suffix(f".{kind}.npy") for kind in ("samples", "intervals")]
    sound = [path.read_bytes() for path in paths]

    def case(rng: Generator) -> Outcome:
        which = int(rng.integers(2))
        for path, data in zip(paths, sound, strict=True):
            path.write_bytes(data)
        inside = rng.integers(2)
        data = sound[which]
        paths[which].write_bytes(
            mutated_behind(rng, data, 128) if inside else mutated(rng, data, sound[1 - which])
        )
        try:
            found = open_shard_index(str(shard), 6)
        except ThroughputError as error:
            return refused(error, shard)
        require(found is not None, "an index that is there was passed over")
        assert found is not None
        for place in range(6):
            count = found.records[place]["intervals"]
            require(len(found.record(place).interval_bytes) == count, "intervals beyond the file")
        return "right"

    return case


def manifests(folder: Path) -> Case:
    """Folders of packed shards by their manifests."""
    out = packed(folder)
    path = out / MANIFEST
    sound = path.read_bytes()
    record = json.loads(sound)

    def case(rng: Generator) -> Outcome:
        if rng.integers(2):
            path.write_bytes(mutated(rng, sound, sound))
        else:
            path.write_text(json.dumps(mutated_json(rng, record)))
        try:
            source = open_source(out)
            require(len(source.labels) == 12, f"{len(source.labels)} of 12 samples")
            require(int(source.labels.max()) < len(source.classes), "a label beyond the classes")
            require(all(source.read(sample)[:2] == b"\xff\xd8" for sample in range(12)), "no image")
        except ThroughputError as error:
            return refused(error, out)
        finally:
            shutil.rmtree(folder / "cache", ignore_errors=True)
        return "right"

    return case


def arrays(folder: Path) -> Case:
    """Images and labels in ``.npy`` files."""
    images, labels = folder / "images.npy", folder / "labels.npy"
    made: list[tuple[Any, Any]] = [
        (np.arange(10 * 12, dtype=np.uint8).reshape(10, 4, 3), np.arange(10) % 3),
        (np.linspace(0, 1, 6 * 48, dtype=np.float32).reshape(6, 4, 4, 3), np.array(list("abcabc"))),
        (np.zeros((5, 4, 4, 1), np.uint8), np.linspace(0, 1, 10).reshape(5, 2)),
    ]

    def case(rng: Generator) -> Outcome:
        pair = [_npy(array) for array in made[int(rng.integers(len(made)))]]
        which = int(rng.integers(2))
        inside = rng.integers(2)
        data = pair[which]
        pair[which] = mutated_behind(rng, data, 128) if inside else mutated(rng, data, pair[1 - which])
        for path, data in zip((images, labels), pair, strict=True):
            path.unlink(missing_ok=True)  # an earlier map keeps the old file
            path.write_bytes(data)
        try:
            source = open_arrays(images, labels)
            for sample in range(min(len(source.labels), 50)):
                require(len(source.read(sample)) == source.size_bytes, "an image of another size")
        except ThroughputError as error:
            return refused(error, images, labels)
        require(source.encoded_bytes() < 1 << 20, "more images than the file holds")
        if source.classes:
            require(0 <= source.labels.min() <= source.labels.max() < len(source.classes), "no class")
        return "right"

    return case


def _npy(array: Any) -> bytes:
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()
