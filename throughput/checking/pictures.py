"""One encoded image: does it decode whole, and what is peculiar about it?

Decoded as the loaders do it, and stricter where the bytes tell more than decoders say: most of them
decode damaged coded data to grey, or to other colours, without an error.
"""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

import simplejpeg
from PIL import Image, UnidentifiedImageError

from throughput.checking.ends import (
    DAMAGED,
    TRUNCATED,
    Ending,
    Wrong,
    jpeg_ending,
    png_ending,
    webp_ending,
)
from throughput.errors import first_line
from throughput.sources.names import IMAGE_FORMATS, extension, image_extension

EMPTY, GARBAGE, BOMB, MEMORY = "empty", "garbage", "bomb", "memory"

_EXTENSIONS = {
    "JPEG": {"jpg", "jpeg"},
    "MPO": {"jpg", "jpeg"},
    "PNG": {"png"},
    "WEBP": {"webp"},
    "BMP": {"bmp"},
    "PPM": {"ppm", "pgm"},
}
"""Pillow's format -> what a file of it may be called, in lower case."""
_JPEG_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Pillow's mode -> simplejpeg's colour space that needs no conversion."""
_ORIENTATION, _UPRIGHT = 0x0112, 1
_PNG_DEPTH_AT = 24


class Look(NamedTuple):
    """wrong: None where the image is whole. remarks: kinds of peculiarities that are no fault."""

    wrong: Wrong | None
    remarks: tuple[str, ...] = ()


def look_at(data: bytes, name: str) -> Look:
    """Look at an encoded image.

    name: of its file or member, whose extension is held against the bytes; empty where it has none.
    """
    if not data:
        return Look(Wrong(EMPTY, "the file is empty"))
    with warnings.catch_warnings():
        # Of odd EXIF data, of palettes, and of images of more than half the limit on pixels.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
        except UnidentifiedImageError:
            return Look(Wrong(GARBAGE, f"not an image of a known type{_what_else(data)}"))
        except Exception as error:  # noqa: BLE001 - decoders raise what they like; all of it is a finding
            # Pillow hands a whole WebP to its decoder at once.
            cut = webp_ending(data).wrong if image_extension(data) == "webp" else None
            return Look(cut or _wrong(error, "its header is damaged"))
        remarks = _remarks(image, data, name)
        ending = _ending(image, data)
        if ending.trailing_bytes and image.format != "MPO":
            remarks.append("trailing bytes")
        wrong = ending.wrong or _decoding(image, data)
        if wrong is None:
            remarks += _exif_remarks(image)
        return Look(wrong, (*remarks,))


def _what_else(data: bytes) -> str:
    start = data[:256].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return ", but an HTML page"
    return ", but zeros only" if data.count(0) == len(data) else ""


def _ending(image: Image.Image, data: bytes) -> Ending:
    if image.format in ("JPEG", "MPO"):
        return jpeg_ending(data)
    if image.format == "PNG":
        return png_ending(data)
    return webp_ending(data) if image.format == "WEBP" else Ending(None)


def _decoding(image: Image.Image, data: bytes) -> Wrong | None:
    """Decode every row: a JPEG by libjpeg-turbo, which tells of what Pillow passes over; else by Pillow."""
    is_jpeg = image.format in ("JPEG", "MPO") and image.mode in _JPEG_SPACES
    doubt = _jpeg_error(data, image.mode, strict=True) if is_jpeg else None
    if is_jpeg and doubt is None:
        return None
    try:
        image.load()
    except Exception as error:  # noqa: BLE001 - as above
        return _wrong(error, "the image is damaged")
    if doubt is None or _jpeg_error(data, image.mode, strict=False) is not None:
        return None  # a kind of JPEG that only Pillow decodes
    return Wrong(DAMAGED, f"the image is damaged, though decoders go on: {doubt}")


def _jpeg_error(data: bytes, mode: str, *, strict: bool) -> str | None:
    """Why a JPEG does not decode, warnings included where ``strict``; None where it does."""
    try:
        simplejpeg.decode_jpeg(data, _JPEG_SPACES[mode], strict=strict)
    except ValueError as error:
        return first_line(error)
    return None


def _wrong(error: Exception, what: str) -> Wrong:
    said = first_line(error)
    if isinstance(error, Image.DecompressionBombError):
        return Wrong(BOMB, f"too large: {said}")
    if isinstance(error, MemoryError):
        return Wrong(MEMORY, f"{what}, or too large for the memory that there is")
    return Wrong(TRUNCATED if "truncated" in said.lower() else DAMAGED, f"{what}: {said}")


def _remarks(image: Image.Image, data: bytes, name: str) -> list[str]:
    is_jpeg = image.format in ("JPEG", "MPO")
    remarks = {
        "cmyk": image.mode == "CMYK",
        "16-bit": image.mode.startswith("I") or (image.format == "PNG" and data[_PNG_DEPTH_AT] == 16),
        "palette": image.mode in ("P", "PA"),
        "alpha": image.has_transparency_data,
        "animated": not is_jpeg and bool(getattr(image, "is_animated", False)),
        "progressive": is_jpeg and "progressive" in image.info,
        "wrong extension": name != ""
        and extension(name) not in _EXTENSIONS.get(image.format or "", {extension(name)}),
    }
    return [kind for kind, has_it in remarks.items() if has_it]


def _exif_remarks(image: Image.Image) -> list[str]:
    """Of a decoded image: to find the EXIF data of a PNG, Pillow decodes it."""
    try:
        rotated = image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT
    except Exception:  # noqa: BLE001 - the pixels are whole all the same
        return ["damaged exif"]
    return ["exif rotation"] if rotated else []
