"""What a region's header keeps of the image's: all that says which colours it has, and no more than fits."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from oracle import SOS, body_of, encode, patched, pixels, save, scene, segment, segments
from PIL import Image

from throughput.jpeg.splice import FOUND, NOT_ADDRESSABLE, SPLICED, TRUNCATED, Region, cut, room_bytes
from throughput.jpeg.transcode import transcode

APP0, APP14 = 0xE0, 0xEE
JFIF = b"JFIF\x00\x01\x02\x01\x00\x48\x00\x48"
"""Without the thumbnail's width and height."""
RGB_BY_ADOBE = b"Adobe\x00\x64\x00\x00\x00\x00\x00"
BOX = (40, 50, 20, 30)
NOWHERE = Region(NOT_ADDRESSABLE, 0, 0, 0, 0, 0)
CANARY = 0xA5


def cut_out(data: bytes) -> tuple[Region, bytes]:
    """BOX of the image; nothing is written beyond what ``room_bytes`` asks for."""
    room = room_bytes(len(data))
    out = np.full(room + 4096, CANARY, np.uint8)
    region = cut(np.frombuffer(data, np.uint8), FOUND, BOX, out[:room])
    assert (out[room:] == CANARY).all()
    return region, out[: region.size_bytes].tobytes()


def named(data: bytes, names: bytes) -> bytes:
    """A JPEG of three components with other identifiers."""
    frame = data.index(b"\xff\xc0")
    scan = data.index(bytes((0xFF, SOS)))
    for number, name in enumerate(names):
        data = patched(data, frame + 10 + 3 * number, bytes((name,)))
        data = patched(data, scan + 5 + 2 * number, bytes((name,)))
    return data


def bare(data: bytes) -> bytes:
    """With restart intervals, and without the JFIF or Adobe segment that it begins with."""
    assert data[2:4] in (bytes((0xFF, APP0)), bytes((0xFF, APP14)))
    made = transcode(data[:2] + data[4 + int.from_bytes(data[4:6], "big") :], 1.0)
    assert not made.reason
    return made.data


def with_segments(data: bytes, *added: bytes) -> bytes:
    return data[:2] + b"".join(added) + data[2:]


def crop(image: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    return image[region.top : region.top + region.height, region.left : region.left + region.width]


def assert_same_colours(data: bytes) -> bytes:
    """The region, which Pillow and simplejpeg decode to the whole image's pixels."""
    region, small = cut_out(data)
    assert region.status == SPLICED
    assert np.array_equal(pixels(small), crop(pixels(data), region))
    by_simplejpeg = simplejpeg.decode_jpeg(small), crop(simplejpeg.decode_jpeg(data), region)
    assert np.array_equal(*by_simplejpeg)
    return small


YCBCR_BY_JFIF = bare(named(encode("444", 131, 189), b"RGB"))
"""Its identifiers say RGB; only with a JFIF segment it is YCbCr."""
RGB_BY_SEGMENT = bare(named(save(scene(131, 189), keep_rgb=True), b"\x01\x02\x03"))
"""Its identifiers say YCbCr; only with an Adobe segment it is RGB."""


@pytest.mark.parametrize("thumbnail", [(0, 0), (2, 2), (2, 3), (50, 60), (100, 210)], ids=str)
def test_jfif_segments_keep_their_word_and_lose_their_thumbnail(thumbnail: tuple[int, int]) -> None:
    width, height = thumbnail
    body = JFIF + bytes(thumbnail) + b"\x77" * (3 * width * height)
    data = with_segments(YCBCR_BY_JFIF, segment(APP0, body))
    assert not np.array_equal(pixels(data), pixels(YCBCR_BY_JFIF))
    small = assert_same_colours(data)
    if len(body) > 30:
        body = JFIF + b"\x00\x00"
    assert body_of(small, APP0) == body


@pytest.mark.parametrize("more", [0, 18, 19, 300, 65521])
def test_adobe_segments_keep_their_word(more: int) -> None:
    body = RGB_BY_ADOBE + b"\x55" * more
    data = with_segments(RGB_BY_SEGMENT, segment(APP14, body))
    assert not np.array_equal(pixels(data), pixels(RGB_BY_SEGMENT))
    small = assert_same_colours(data)
    assert body_of(small, APP14) == (body if len(body) <= 30 else RGB_BY_ADOBE)


def test_both_kinds_stay_in_their_order_among_many_others() -> None:
    long = bytes(900)
    added = [
        segment(APP0, b"JFXX\x00\x10" + long),
        segment(APP14, b"Photoshop" + long),
        segment(APP14, RGB_BY_ADOBE + long),
        segment(APP0, JFIF + b"\x0a\x1e" + long),
        segment(APP14, b"JFIF\x00" + long),
        segment(APP0, b"Adobe" + long),
    ]
    small = assert_same_colours(with_segments(RGB_BY_SEGMENT, *added))
    assert segments(small)[0][:2] == [(APP14, RGB_BY_ADOBE), (APP0, JFIF + b"\x00\x00")]
    assert [marker for marker, _ in segments(small)[0] if marker in {APP0, APP14}] == [APP14, APP0]


@pytest.mark.parametrize(("count", "status"), [(40, SPLICED), (140, NOT_ADDRESSABLE)])
def test_long_segments_take_only_the_room_of_what_is_kept(count: int, status: int) -> None:
    data = with_segments(RGB_BY_SEGMENT, *[segment(APP14, RGB_BY_ADOBE + bytes(200))] * count)
    region, _ = cut_out(data)
    assert region.status == status


@pytest.mark.parametrize("marker", [0x01, *range(0xD0, 0xD8)], ids=hex)
def test_markers_without_a_segment_leave_the_image_whole(marker: int) -> None:
    """Decoders pass over them, at least those of restarts: it is no damage."""
    assert cut_out(with_segments(RGB_BY_SEGMENT, bytes((0xFF, marker)))) == (NOWHERE, b"")


def test_more_pixels_than_decoders_take_are_not_looked_for() -> None:
    """As Pillow draws the line. The interval is 3 of 12 MCUs, and fits the larger images as well."""
    data = transcode(encode("420", 131, 189), 1.0).data
    frame = data.index(b"\xff\xc0")
    side, longer = (13377).to_bytes(2, "big"), (13378).to_bytes(2, "big")
    most, more = patched(data, frame + 5, side + side), patched(data, frame + 5, longer + side)
    assert cut_out(most)[0].status == TRUNCATED
    assert cut_out(more) == (NOWHERE, b"")
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(most)).close()
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(more))
