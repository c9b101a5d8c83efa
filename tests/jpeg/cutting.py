"""Images to cut regions out of, the regions, and what they must show."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from throughput.jpeg.splice import Region, cut, room_bytes
from throughput.jpeg.transcode import Transcoded

Box = tuple[int, int, int, int]
Pixels = NDArray[np.uint8]

LAYOUTS = ("444", "422", "440", "420", "411", "grey")


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    """Smooth colours, edges and noise, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width]
    waves = [
        np.sin(down / rng.uniform(5, 40) + rng.uniform(0, 6)) + np.cos(across / 17 + c) for c in range(3)
    ]
    pixels = 128 + 45 * np.stack(waves, axis=2) + rng.normal(0, 12, (height, width, 3))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (240, 20, 30)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def by_pillow(pixels: Pixels, mode: str = "RGB", kind: str = "JPEG", **settings: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(data, kind, **settings)
    return data.getvalue()


def encoded(height: int, width: int, layout: str, seed: int = 0) -> bytes:
    pixels = picture(height, width, seed)
    if layout == "grey":
        return by_pillow(pixels, "L", quality=88)
    made: bytes = simplejpeg.encode_jpeg(pixels, quality=88, colorsubsampling=layout)
    return made


def kept(made: Transcoded) -> NDArray[np.uint16]:
    """Interval lengths as an index has them: 16 bits each, not to be written."""
    lengths = made.interval_bytes.astype(np.uint16)
    lengths.flags.writeable = False
    return lengths


def cut_out(data: bytes, lengths: NDArray[np.uint16], box: Box) -> tuple[Region, bytes]:
    """What ``cut`` makes; the output has exactly the room that it asks for."""
    out = np.zeros(room_bytes(len(data)), np.uint8)
    region = cut(np.frombuffer(data, np.uint8), lengths, box, out)
    return region, out[: region.size_bytes].tobytes()


def decoded(data: bytes) -> tuple[Pixels, Pixels]:
    """By simplejpeg, which refuses what is not quite right, and by Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        return simplejpeg.decode_jpeg(data, strict=True), np.asarray(image.convert("RGB"))


def boxes_in(height: int, width: int, count: int = 20) -> Iterator[Box]:
    """Corners, single pixels, whole rows and columns, the whole, along the MCUs, and random ones."""
    for top in (0, height // 2, height - 1):
        for left in (0, width // 2, width - 1):
            yield top, left, 1, 1
    for side in (2, 3, 20):
        for top in (0, height - side):
            for left in (0, width - side):
                yield top, left, side, side
    yield height // 2, 0, 1, width
    yield 0, width // 2, height, 1
    yield 0, width - 1, height, 1
    yield height - 1, 0, 1, width
    yield 0, 0, height, width
    for left in range(32, width - 48, 16):
        yield height // 32 * 16, left, 16, 48
    rng = np.random.default_rng([height, width])
    for _ in range(count):
        tall, wide = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
        yield int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1)), tall, wide


def assert_shows(data: bytes, region: Region, small: bytes, box: Box, whole: tuple[Pixels, Pixels]) -> None:
    """A cut JPEG shows the box of the image, whoever decodes it."""
    top, left, height, width = box
    image_height, image_width = whole[0].shape[:2]
    assert 0 <= region.top <= top < top + height <= region.top + region.height <= image_height
    assert 0 <= region.left <= left < left + width <= region.left + region.width <= image_width
    assert small[:2] == b"\xff\xd8"
    assert small[-2:] == b"\xff\xd9"
    assert len(small) <= len(data)
    for pixels, expected in zip(decoded(small), whole, strict=True):
        assert pixels.shape[:2] == (region.height, region.width)
        down, across = top - region.top, left - region.left
        found = pixels[down : down + height, across : across + width]
        assert np.array_equal(found, expected[top : top + height, left : left + width]), box
