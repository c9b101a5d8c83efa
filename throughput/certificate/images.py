"""The images that every certificate is made with: class folders in the cache, made once.

``steady`` holds small coordinate images of one size: random streams that begin with one seed stay in step
over them, so that workers which share a stream are seen. ``mixed`` holds coordinate images of several
shapes and finely textured ones for the train checks, and photos for the held-out checks.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from throughput.cache import cache_folder
from throughput.certificate.coordinates import CODES, Coordinates, paint_coordinates
from throughput.contracts import Progress, Source, Split, no_progress
from throughput.errors import RoomError
from throughput.measure.environment import usable_cores
from throughput.sources import open_source
from throughput.sources.photo import Noise, Photo, make_noise, paint
from throughput.threads import in_threads

VERSION = 2
"""Part of the folder's name: raise it when the images change."""
CLASSES = 8

STEADY_SIZE = (100, 75)
COLOUR_SIZES = ((96, 128), (90, 90), (180, 60), (60, 180), (140, 105))
GREY_SIZES = ((75, 100), (90, 90), (110, 75))
"""(width, height). Too elongated a shape leaves grey's square term too flat to be read."""
TEXTURED_SIZE = (640, 480)
"""Large enough that most crops are made smaller, where a resize without antialiasing shows."""
PHOTO_SIZES = ((500, 375), (375, 500), (500, 333), (480, 360), (334, 500), (400, 400), (1000, 750))

# None of these counts is a multiple of a usual batch size, so that every epoch has a ragged end.
STEADY_TRAIN, STEADY_VAL = 1021, 13
MIXED_TRAIN, MIXED_VAL = 1019, 24
TEXTURED, PHOTOS = 48, 47

_TURNS = (6, 3, 8)
"""EXIF orientations (tag 0x0112): a quarter turn, upside down, a quarter turn back."""

_TEXTURED_CHROMA = ("4:4:4", "4:2:0", "4:2:2")
"""Taking turns among the textured images: two of three have fewer samples of colour than of brightness."""

Kind = Literal["coordinates", "textured", "photo"]
SetName = Literal["steady", "mixed"]


@dataclass(frozen=True)
class OwnImage:
    """What is known of one image. orientation: its EXIF tag, 1 for none. coordinates: None for photos."""

    kind: Kind
    split: Split
    index: int
    orientation: int = 1
    coordinates: Coordinates | None = None


@dataclass(frozen=True, eq=False)
class OwnImages:
    """One of the two sets. images: what is known of each sample, by id."""

    source: Source
    images: tuple[OwnImage, ...]

    def ids(self, kind: Kind, split: Split) -> NDArray[np.int64]:
        """Ids of one kind in one split, (M,) int64, ascending."""
        found = [place for place, one in enumerate(self.images) if (one.kind, one.split) == (kind, split)]
        return np.array(found, np.int64)


def own_images(name: SetName, channels: int, progress: Progress = no_progress) -> OwnImages:
    """Open a set, made by whoever asks first. Raises RoomError where the disk is full."""
    tint = "colour" if channels == 3 else "grey"
    folder = cache_folder("certificate") / f"images-{VERSION}-{tint}" / name
    plan = _plan(name, channels)
    if not folder.is_dir():
        _make(folder, plan, channels, progress)
    source = open_source(folder)
    if len(source.labels) != len(plan):
        # Somebody has cleared out part of the cache. It is ours to make again.
        shutil.rmtree(folder)
        _make(folder, plan, channels, progress)
        source = open_source(folder)
    places = [int(Path(source.describe(sample)).stem) for sample in range(len(plan))]
    return OwnImages(source, tuple(plan[place] for place in places))


@lru_cache
def _plan(name: SetName, channels: int) -> tuple[OwnImage, ...]:
    rng = np.random.default_rng([VERSION, name == "steady"])
    sizes = COLOUR_SIZES if channels == 3 else GREY_SIZES

    def coordinates(split: Split, count: int, *, turned: bool) -> list[OwnImage]:
        return [
            OwnImage(
                "coordinates",
                split,
                index,
                _TURNS[index // 40 % 3] if turned and index % 40 == 20 else 1,
                Coordinates(
                    *(STEADY_SIZE if name == "steady" else sizes[index % len(sizes)]),
                    flat=int(rng.integers(3)),
                    code=int(rng.choice(CODES)),
                ),
            )
            for index in range(count)
        ]

    if name == "steady":
        plan = coordinates("train", STEADY_TRAIN, turned=False) + coordinates("val", STEADY_VAL, turned=False)
    else:
        plan = coordinates("train", MIXED_TRAIN, turned=True) + coordinates("val", MIXED_VAL, turned=False)
        # Its flat channel is the textured one.
        whole = Coordinates(*TEXTURED_SIZE, flat=2, code=128)
        plan += [OwnImage("textured", "train", index, coordinates=whole) for index in range(TEXTURED)]
        plan += [
            OwnImage("photo", "val", index, _TURNS[index // 10 % 3] if index % 10 == 5 else 1)
            for index in range(PHOTOS)
        ]
    return tuple(plan)


def _make(folder: Path, plan: tuple[OwnImage, ...], channels: int, progress: Progress) -> None:
    """Write the set under a temporary name and rename it; another process may have been faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    noise = make_noise() if any(one.kind == "photo" for one in plan) else None
    try:
        # Classes take turns within each kind, so each class has some of everything.
        homes = [part / one.split / f"class_{place % CLASSES}" for place, one in enumerate(plan)]
        for home in set(homes):
            home.mkdir(parents=True, exist_ok=True)

        def write(place: int) -> None:
            encoded = _encode(plan[place], channels, noise)
            try:
                (homes[place] / f"{place:05d}.jpg").write_bytes(encoded)
            except OSError as error:
                raise RoomError(
                    f"cannot write images to certify loaders with in {folder.parent}: {error.strerror}; "
                    "free some room, or let THROUGHPUT_CACHE name another folder"
                ) from error

        with closing(in_threads(write, range(len(plan)), min(8, usable_cores()))) as written:
            for done, _ in enumerate(written, start=1):
                progress("making images to certify loaders with", done, len(plan))
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _encode(one: OwnImage, channels: int, noise: Noise | None) -> bytes:
    chroma: str | None = "4:4:4"
    quality = 100
    if one.kind == "photo":
        assert noise is not None
        pixels, chroma, quality = _photo(one.index, noise)
    else:
        assert one.coordinates is not None
        pixels = paint_coordinates(one.coordinates, channels)
        if one.kind == "textured":
            pixels = _textured(pixels, one.index)
            # As photos are: a decoder may take another way for a train crop, and rebuild colour otherwise.
            chroma, quality = _TEXTURED_CHROMA[one.index % 3], 97
    image = Image.fromarray(pixels)
    if chroma is None:
        image, chroma = image.convert("L"), "4:4:4"
    exif = Image.Exif()
    if one.orientation != 1:
        exif[0x0112] = one.orientation
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality, subsampling=chroma, exif=exif)
    return encoded.getvalue()


def _photo(index: int, noise: Noise) -> tuple[NDArray[np.uint8], str | None, int]:
    """A photo's pixels, its chroma subsampling (None for a grey one) and quality."""
    width, height = PHOTO_SIZES[index % len(PHOTO_SIZES)]
    chroma = None if index in (3, 29) else "4:2:0" if index % 3 == 1 else "4:4:4"
    detail = (0.15, 0.35, 0.6)[index // 3 % 3]
    photo = Photo(width, height, (96, 92, 85)[index // 2 % 3], "4:4:4", detail)
    return (
        paint(noise, photo, np.random.default_rng([VERSION, index]), index % CLASSES, CLASSES),
        chroma,
        photo.quality,
    )


def _textured(pixels: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """Gratings of 2.5 to 6 pixels' period in the flat channel (in grey: upon the ramps)."""
    rng = np.random.default_rng([VERSION, index, 7])
    down, across = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    waves = np.zeros(pixels.shape[:2])
    for _ in range(3):
        turn, period, phase = rng.uniform(0, np.pi), rng.uniform(2.5, 6), rng.uniform(0, 2 * np.pi)
        waves += np.sin(2 * np.pi / period * (np.cos(turn) * across + np.sin(turn) * down) + phase)
    textured = pixels.astype(np.float64)
    if pixels.ndim == 3:
        textured[..., 2] += 30 * waves
    else:
        # Compressed to leave room above and below.
        textured = 40 + (textured - 40) * 0.8 + 12 * waves
    return np.clip(np.rint(textured), 0, 255).astype(np.uint8)
