"""Images and labels in two arrays, NumPy's ``.npy`` files (format version 1.0 and later)."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Progress, Source, Split, no_progress
from throughput.errors import SampleError, SourceError
from throughput.sources.scan import MAX_CLASSES
from throughput.sources.splits import checked_parts, seeded_validation, split_ids

ARRAY_EXTENSION = ".npy"
HELD_OUT_SHARE = 0.2
"""Of arrays, which bring no split of their own."""
_CHUNK_BYTES = 64_000_000
_OPEN_ARRAYS = 16
_LAYOUTS = "(N, H, W), (N, H, W, 1) or (N, H, W, 3)"


@dataclass(frozen=True, eq=False)
class ArraySource(Source):
    """Images of one size in an array; an id is a place along its first axis.

    path: absolute path of the array of images. size_bytes: of one encoded image. channels: 1 or 3.
    parts: (N,) int8, as for ``with_parts``.
    """

    location: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64] | NDArray[np.float32]
    fingerprint: str
    path: str
    size_bytes: int
    parts: NDArray[np.int8]
    channels: int = 1

    def ids(self, split: Split) -> NDArray[np.int64]:
        """Ids of a split, (M,) int64, ascending."""
        return split_ids(self.parts, split)

    def with_parts(self, parts: NDArray[np.int8]) -> ArraySource:
        """The same images split otherwise."""
        return replace(self, parts=checked_parts(self, parts))

    def read(self, sample_id: int) -> bytes:
        """The image as binary PGM or PPM (Netpbm's pgm(5), ppm(5)), which every decoder reads without loss.

        Floats are rounded to 1/255. Raises SampleError where the file is gone.
        """
        try:
            pixels = _open(self.path, self.fingerprint)[sample_id]
        except Exception as error:  # as in _load
            raise SampleError(self.describe(sample_id), f"cannot be read: {error}") from error
        if pixels.dtype != np.uint8:
            pixels = np.rint(pixels.astype(np.float32) * 255).astype(np.uint8)
        height, width = (*pixels.shape, 0, 0)[:2]
        encoded = _header(height, width, self.channels) + bytes(pixels.tobytes())
        if len(encoded) != self.size_bytes:
            raise SampleError(self.describe(sample_id), "the array changed since it was opened; start again")
        return encoded

    def forget(self) -> None:
        """Let go of the map: pages that are mapped cannot be evicted."""
        _open.cache_clear()

    def describe(self, sample_id: int) -> str:
        """The array and the place in it."""
        return f"{self.path}[{sample_id}]"

    def encoded_bytes(self) -> int:
        """Bytes of all images together, as ``read`` gives them."""
        return self.size_bytes * len(self.labels)

    def files(self) -> tuple[Path, ...]:
        """The array of images."""
        return (Path(self.path),)


def open_arrays(
    images: str | Path,
    labels: str | Path | None,
    split_fraction: float | None = None,
    progress: Progress = no_progress,
) -> ArraySource:
    """Open an array of images, (N, H, W) or (N, H, W, 1 or 3), uint8 or floating in 0..1, with its labels.

    labels: an array of (N,) whole numbers from 0 on, classes named by their number; of (N,) strings, names of
    classes; or of (N,) or (N, K) floats, targets. split_fraction: the share of each class to hold out by
    seed, HELD_OUT_SHARE by default. Every float is looked at. Raises SourceError naming the first bad sample.
    """
    path = os.path.realpath(images)
    if labels is None:
        raise SourceError(f"{images} is an array of images: name the array of their labels with --labels")
    labels = Path(labels).expanduser()
    pixels = _load(images)
    _require_layout(images, pixels)
    classes, label_array = _labels(labels, images, len(pixels))
    if pixels.dtype.kind == "f":
        _require_unit_range(images, pixels, progress)
    height, width, channels = (*pixels.shape[1:], 1)[:3]
    facts = [(name, os.stat(name)) for name in (path, os.path.realpath(labels))]  # noqa: PTH116 - as elsewhere
    said = repr([(name, status.st_size, status.st_mtime_ns) for name, status in facts])
    share = HELD_OUT_SHARE if split_fraction is None else split_fraction
    return ArraySource(
        location=str(images),
        classes=classes,
        labels=label_array,
        fingerprint=hashlib.blake2b(said.encode(), digest_size=16).hexdigest(),
        path=path,
        size_bytes=len(_header(height, width, channels)) + height * width * channels,
        channels=channels,
        parts=seeded_validation(label_array, share).astype(np.int8),
    )


@lru_cache(maxsize=_OPEN_ARRAYS)
def _open(path: str, fingerprint: str) -> NDArray[Any]:  # noqa: ARG001 - an array that changed is opened anew
    """The mapped array. A fork inherits the map; a process that was sent the source maps the file itself."""
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return] # numpy types it not


def _load(path: str | Path) -> NDArray[Any]:
    """An array, mapped. Raises SourceError for what is none, or holds objects, which could run code."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # the header is Python's text, whose parser fails in many ways
        raise SourceError(_why_unreadable(path, error)) from error
    if not isinstance(array, np.ndarray):
        raise SourceError(f"{path} holds several arrays: save the one that is meant by itself, as .npy")
    return array


def _why_unreadable(path: str | Path, error: Exception) -> str:
    if "pickle" in str(error).lower() or "object" in str(error).lower():
        with Path(path).open("rb") as file:
            is_array = file.read(6) == b"\x93NUMPY"
        if is_array:
            return (
                f"{path} holds Python objects, which are never unpickled: save plain numbers or strings, "
                "as in numpy.save(FILE, numpy.stack(images))"
            )
        return f"{path} is no array in NumPy's .npy format: save it with numpy.save"
    return f"{path} is damaged or no array in NumPy's .npy format ({error}): save it again"


def _require_layout(path: str | Path, pixels: NDArray[Any]) -> None:
    shape = pixels.shape
    if len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        raise SourceError(
            f"{path} has the shape {shape}, channels first: put them last, array.transpose(0, 2, 3, 1)"
        )
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise SourceError(f"{path} has the shape {shape}: images are {_LAYOUTS}")
    if 0 in shape:
        raise SourceError(f"{path} has the shape {shape}: it holds no pixel")
    if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        raise SourceError(
            f"{path} holds {pixels.dtype}: images are uint8 in 0..255, or floating in 0..1; "
            "convert them with .astype(numpy.uint8) if they are in 0..255"
        )


def _require_unit_range(path: str | Path, pixels: NDArray[Any], progress: Progress) -> None:
    """Raise SourceError for a value that is no finite number in 0..1, chunk by chunk."""
    step = max(1, _CHUNK_BYTES // max(1, pixels[:1].nbytes))
    for begin in range(0, len(pixels), step):
        chunk = pixels[begin : begin + step]
        # NaN compares with nothing, so it is not within.
        within = ((chunk >= 0) & (chunk <= 1)).reshape(len(chunk), -1)
        if not within.all():
            place = int((~within.all(1)).argmax())
            value = float(chunk[place].reshape(-1)[int((~within[place]).argmax())])
            advice = "scale floats, or save uint8 in 0..255" if np.isfinite(value) else "remove or mend it"
            raise SourceError(
                f"{path}[{begin + place}] holds {value:g}: floating images are finite and in 0..1; {advice}"
            )
        progress("checking the images", begin + len(chunk), len(pixels))


def _labels(
    path: str | Path, images: str | Path, count: int
) -> tuple[tuple[str, ...], NDArray[np.int64] | NDArray[np.float32]]:
    """Class names and labels; no names where the labels are targets. Raises SourceError."""
    mapped = _load(path)
    if mapped.ndim == 0 or len(mapped) != count:
        found = "one value" if mapped.ndim == 0 else f"{len(mapped)} labels"
        raise SourceError(f"{images} holds {count} images and {path} {found}: they must be as many")
    labels = np.array(mapped)
    if labels.dtype.kind == "f" and labels.ndim <= 2:
        with np.errstate(over="ignore"):
            targets = labels.astype(np.float32)
        finite = np.isfinite(targets.reshape(count, -1)).all(1)
        if not finite.all():
            place = int((~finite).argmax())
            raise SourceError(f"{path}[{place}] is {labels[place]}: targets are finite numbers in float32")
        return (), targets
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise SourceError(
            f"{path} has the shape {labels.shape}: labels are one whole number or name for each image; "
            "of one-hot rows save array.argmax(axis=1), of targets floats"
        )
    if labels.dtype.kind == "U":
        _require_characters(path, labels)
        names, numbers = np.unique(labels, return_inverse=True)
        return tuple(str(name) for name in names), numbers.astype(np.int64)
    if labels.dtype.kind not in "iub":
        raise SourceError(
            f"{path} holds {labels.dtype}: labels are whole numbers, strings or floats; "
            "save bytes with .astype(str)"
        )
    wrong = (labels < 0) | (labels >= MAX_CLASSES)
    if wrong.any():
        place = int(wrong.argmax())
        raise SourceError(
            f"{path}[{place}] is {labels[place]}: a class is a whole number from 0 to {MAX_CLASSES - 1}"
        )
    _require_numbered(path, labels)
    return tuple(str(number) for number in range(int(labels.max()) + 1)), labels.astype(np.int64)


def _require_characters(path: str | Path, names: NDArray[Any]) -> None:
    """Raise SourceError where a name holds a number that is no character's, which Python makes no text of."""
    codes = np.ascontiguousarray(names).view(names.dtype.byteorder.replace("|", "=") + "u4")
    if names.dtype.itemsize and codes.max(initial=0) > sys.maxunicode:
        raise SourceError(f"{path} is damaged: a label holds what is no character; save it again")


def _require_numbered(path: str | Path, labels: NDArray[Any]) -> None:
    """Raise SourceError for numbers that number no classes: a stray one makes thousands without an image."""
    classes, place = int(labels.max()) + 1, int(labels.argmax())
    empty = classes - len(np.unique(labels))
    said = f"{path}[{place}] is {labels[place]}, and classes are numbered from 0 on"
    advice = "correct it, or renumber the labels: numpy.unique(labels, return_inverse=True)[1]"
    if classes > len(labels):
        raise SourceError(f"{said}: that makes {classes} classes of {len(labels)} images; {advice}")
    if empty > classes / 2:
        raise SourceError(f"{said}: {empty} of {classes} would have no image; {advice}")


def _header(height: int, width: int, channels: int) -> bytes:
    return b"P%d\n%d %d\n255\n" % (5 if channels == 1 else 6, width, height)
