"""A JPEG's frame header against Pillow's reading of the same file, and against damage."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from throughput.jpeg.header import Frame, read_frame


def jpeg(mode: str = "RGB", size: tuple[int, int] = (70, 30), **settings: Any) -> bytes:
    data = io.BytesIO()
    Image.new(mode, size).save(data, "JPEG", **settings)
    return data.getvalue()


def exif_with_thumbnail() -> bytes:
    """An EXIF segment that holds a whole JPEG of another size."""
    return b"Exif\x00\x00" + jpeg(size=(16, 8))


@pytest.mark.parametrize(
    ("data", "frame"),
    [
        (jpeg(), Frame(30, 70, 3, 8, 0)),
        (jpeg("L"), Frame(30, 70, 1, 8, 0)),
        (jpeg("CMYK"), Frame(30, 70, 4, 8, 0)),
        (jpeg(progressive=True), Frame(30, 70, 3, 8, 2)),
        (jpeg(size=(1, 65500)), Frame(65500, 1, 3, 8, 0)),
        (jpeg(restart_marker_blocks=1), Frame(30, 70, 3, 8, 0)),
        (jpeg(comment=b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01"), Frame(30, 70, 3, 8, 0)),
        (jpeg(exif=exif_with_thumbnail()), Frame(30, 70, 3, 8, 0)),
    ],
    ids=["RGB", "grey", "CMYK", "progressive", "tall", "restarts", "marker in a comment", "thumbnail"],
)
def test_size_components_and_process_are_read(data: bytes, frame: Frame) -> None:
    assert read_frame(data) == frame
    with Image.open(io.BytesIO(data)) as image:
        assert (frame.height, frame.width) == (image.height, image.width)


def test_fill_bytes_before_a_marker_are_passed_over() -> None:
    data = jpeg()
    place = data.index(b"\xff\xc0")
    assert read_frame(data[:place] + b"\xff\xff\xff" + data[place:]) == Frame(30, 70, 3, 8, 0)


def test_a_marker_without_a_segment_is_passed_over() -> None:
    data = jpeg()
    assert read_frame(data[:2] + b"\xff\x01" + data[2:]) == Frame(30, 70, 3, 8, 0)


def test_a_file_cut_anywhere_gives_the_frame_or_none() -> None:
    data = jpeg(exif=exif_with_thumbnail())
    whole = read_frame(data)
    end = data.index(b"\xff\xc0", data.index(b"JFIF") + 200)
    for length in range(len(data)):
        found = read_frame(data[:length])
        assert found == (whole if found else None)
        assert found is None or length > end


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"\xff\xd8" + bytes(40),
        b"\xff\xd8" + b"\xff" * 40,
        b"\xff\xd8\xff\xe0\x00\x00" + bytes(40),
        b"\xff\xd8\xff\xd9" + jpeg(),
        jpeg().replace(b"\xff\xc0", b"\xff\xda"),
    ],
    ids=["empty", "SOI only", "PNG", "zeros", "fill only", "length 0", "EOI first", "scan before frame"],
)
def test_what_is_no_sound_jpeg_has_no_frame(data: bytes) -> None:
    assert read_frame(data) is None


@pytest.mark.parametrize("side", ["height", "width"])
def test_a_frame_without_a_size_is_none(side: str) -> None:
    data = bytearray(jpeg())
    place = data.index(b"\xff\xc0") + (5 if side == "height" else 7)
    data[place : place + 2] = b"\x00\x00"
    assert read_frame(bytes(data)) is None
