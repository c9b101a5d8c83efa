"""What an independent decoder reads from a JPEG, and images to make JPEGs of."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jpeglib
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

SOI, EOI, SOS, DHT, DQT, DRI = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xDD
LAYOUTS = ("444", "422", "440", "420", "411", "Gray")
"""Chroma layouts by simplejpeg's names."""


class Reading(NamedTuple):
    """What libjpeg reads. coefficients, tables: of each component, (rows, columns, 8, 8) and (8, 8)."""

    height: int
    width: int
    coefficients: list[NDArray[np.int16]]
    tables: list[NDArray[np.uint16]]


def read(data: bytes) -> Reading | None:
    """Quantised coefficients as libjpeg reads them (jpeglib); None where it refuses the file."""
    handle, name = tempfile.mkstemp(suffix=".jpg")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        found = jpeglib.read_dct(name)
        luma, (blue, red), tables = found.load()
    except OSError:
        return None
    finally:
        Path(name).unlink()
    coefficients = [component for component in (luma, blue, red) if component is not None]
    return Reading(found.height, found.width, coefficients, [tables[number] for number in found.quant_tbl_no])


def is_same(one: Reading | None, other: Reading | None) -> bool:
    """Whether both were read and hold the same size, coefficients and quantisation tables."""
    if one is None or other is None:
        return False
    return (
        one[:2] == other[:2]
        and len(one.coefficients) == len(other.coefficients)
        and all(map(np.array_equal, one.coefficients, other.coefficients))
        and all(map(np.array_equal, one.tables, other.tables))
    )


def pixels(data: bytes) -> NDArray[np.uint8]:
    """Pillow's decoding; raises OSError where it refuses the file."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def scene(height: int, width: int, seed: int = 0, noise: float = 12.0) -> NDArray[np.uint8]:
    """Something like a photo: smooth colours, edges and noise, (height, width, 3) uint8."""
    random = np.random.default_rng([height, width, seed])
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    made = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        slopes = random.uniform(0.005, 0.06, 4)
        made[..., channel] = 128 + 70 * np.sin(slopes[0] * down + slopes[1] * across)
        made[..., channel] += 45 * np.cos(slopes[2] * across - slopes[3] * down)
    made[(down // 23 + across // 31) % 5 == 0] *= 0.5
    made += random.normal(0, noise, made.shape)
    return made.clip(0, 255).astype(np.uint8)


def encode(layout: str, height: int, width: int, quality: int = 92, seed: int = 0) -> bytes:
    """A scene as a baseline JPEG with standard tables and this chroma layout."""
    image = scene(height, width, seed)
    if layout == "Gray":
        return simplejpeg.encode_jpeg(
            np.ascontiguousarray(image[..., :1]), quality, "GRAY", colorsubsampling="Gray"
        )
    return simplejpeg.encode_jpeg(image, quality, "RGB", colorsubsampling=layout)


def resampled(data: bytes, factors: tuple[int, int, int]) -> bytes:
    """The same blocks with other sampling factors, as a frame header holds them; written by jpeglib.

    Rows and columns of MCUs must be whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.jpg"), Path(folder, "after.jpg")
        before.write_bytes(data)
        image = jpeglib.read_dct(str(before))
        image.load()
        image.content = None  # libjpeg makes room for the blocks by the new factors then
        image.samp_factor = np.array([(factor & 15, factor >> 4) for factor in factors])
        image.write_dct(str(after))
        made = after.read_bytes()
    frame = body_of(made, 0xC0)
    assert frame is not None
    assert frame[7::3] == bytes(factors)
    return made


def save(image: NDArray[np.uint8], **settings: Any) -> bytes:
    """An image as a JPEG by Pillow."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", **settings)
    return data.getvalue()


def segments(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """(marker, body) of each segment up to the first scan header, and the place behind that."""
    found: list[tuple[int, bytes]] = []
    place = 2
    while not found or found[-1][0] != SOS:
        assert data[place] == 0xFF
        while data[place] == 0xFF:  # fill bytes
            place += 1
        end = place + 1 + int.from_bytes(data[place + 1 : place + 3], "big")
        found.append((data[place], data[place + 3 : end]))
        place = end
    return found, place


def segment(marker: int, body: bytes) -> bytes:
    """A segment as it stands in a file."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def patched(data: bytes, place: int, new: bytes) -> bytes:
    """The data with bytes at ``place`` overwritten."""
    return data[:place] + new + data[place + len(new) :]


def body_of(data: bytes, *markers: int) -> bytes | None:
    """The body of the first segment of one of these kinds; None where there is none."""
    return next((body for marker, body in segments(data)[0] if marker in markers), None)


def later_markers(data: bytes, begin: int) -> list[tuple[int, int]]:
    """(place, marker) of each marker from ``begin``, in entropy-coded data, on: places without fill bytes."""
    array = np.frombuffer(data, np.uint8)
    places = begin + np.flatnonzero(array[begin:-1] == 0xFF)
    return [(int(place), data[place + 1]) for place in places if data[place + 1] not in {0, 0xFF}]


class Grid(NamedTuple):
    """The MCUs of a frame whose components are all in one scan."""

    rows: int
    columns: int
    mcu_width: int


def grid(data: bytes) -> Grid:
    """As the frame header says."""
    body = body_of(data, 0xC0, 0xC1, 0xC2)
    assert body is not None
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    factors = body[7::3] if body[5] > 1 else b"\x11"
    across, down = 8 * max(factor >> 4 for factor in factors), 8 * max(factor & 15 for factor in factors)
    return Grid(-(-height // down), -(-width // across), across)
