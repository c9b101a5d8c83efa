"""The copy of a source that faults are put into: as class folders and as shards, and how its images look."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from throughput.certificate.reference import decode, held_out_pixels
from throughput.contracts import Progress, Source, no_progress
from throughput.drill.shards import Place, places_of
from throughput.errors import SourceError
from throughput.sources import open_source
from throughput.sources.names import image_extension
from throughput.sources.pack import MOST_GROWTH, pack

_SHARDS = 5
_FEWEST = 8
"""Samples below which a shard, a batch and a share of them would be one and the same."""


@dataclass(frozen=True, eq=False)
class Copies:
    """N sound samples of a source; a sample's id is its place among them, and the same in both copies.

    files: a folder of class folders. packed: a folder of shards of them. names: each sample's file below
    ``files``. labels: (N,) int64. wanted: (N, S, S, 3) uint8, what a loader is to deliver for each.
    shards: each shard's samples. left_out: samples of the source that the reference cannot decode.
    """

    files: Path
    packed: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    wanted: NDArray[np.uint8]
    shards: dict[str, tuple[Place, ...]]
    left_out: int


def make_copies(
    source: Source, room: Path, samples: int, size: int, seed: int, progress: Progress = no_progress
) -> Copies:
    """Copy some samples of a source, drawn by seed, into the folder ``room``.

    size: the side S of the crops, in pixels. Raises SourceError where too few samples are sound.
    """
    drawn, left_out = _drawn(source, samples, seed, progress)
    if len(drawn) < _FEWEST:
        raise SourceError(
            f"{source.location} has {len(drawn)} images that can be decoded, and a drill needs {_FEWEST}: "
            "name a larger source"
        )
    files, packed = room / "files", room / "packed"
    names = []
    for place, (sample_id, data) in enumerate(drawn):
        label = int(source.labels[sample_id]) if source.classes else 0
        name = f"{label:06d}/{place:06d}.{image_extension(data)}"
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(data)
        names.append(name)
    pack_folder(files, packed)
    tars = sorted(packed.rglob("*.tar"))
    return Copies(
        files,
        packed,
        tuple(names),
        open_source(files).labels.astype(np.int64),
        np.stack([looks_of(data, size) for _, data in drawn]),
        {str(tar.relative_to(packed)): places_of(tar) for tar in tars},
        left_out,
    )


def looks_of(data: bytes, size: int) -> NDArray[np.uint8]:
    """What held-out images are to be delivered as, by Pillow and torchvision: (size, size, 3) uint8."""
    return held_out_pixels(decode(data, 3), size)


def pack_folder(folder: Path, out: Path) -> None:
    """Pack class folders as ``throughput pack --restart`` does, into a few shards."""
    source = open_source(folder)
    pack(source, out, samples_per_shard=-(-len(source.labels) // _SHARDS), growth=MOST_GROWTH)


def linked(folder: Path, to: Path) -> Path:
    """A copy of a folder that shares its files: to change one, replace it, and never write to it."""
    shutil.copytree(folder, to, copy_function=os.link)
    return to


def replace_file(path: Path, data: bytes) -> None:
    """Put other bytes in a file's place, whatever else shares the old ones."""
    path.unlink()
    path.write_bytes(data)


def _drawn(
    source: Source, samples: int, seed: int, progress: Progress
) -> tuple[list[tuple[int, bytes]], int]:
    """Ids and bytes of sound samples, by label and id; and how many unsound ones were met."""
    found: list[tuple[int, bytes]] = []
    left_out = 0
    for sample_id in np.random.default_rng(seed).permutation(len(source.labels)).tolist():
        if len(found) == samples:
            break
        try:
            data = source.read(sample_id)
            decode(data, 3)
        except Exception:  # noqa: BLE001 - it cannot be read, or Pillow raises one of many types
            left_out += 1
        else:
            found.append((sample_id, data))
        progress("copying the source", len(found), samples)
    labels = source.labels if source.classes else np.zeros(len(source.labels), np.int64)
    return sorted(found, key=lambda one: (int(labels[one[0]]), one[0])), left_out
