"""Regions cut out of JPEGs: two decoders see the pixels of the whole image, and damage is named."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from throughput.jpeg.splice import (
    BAD_HEADER,
    BAD_INDEX,
    BAD_MARKER,
    DAMAGES,
    FOUND,
    NOT_ADDRESSABLE,
    SPLICED,
    TRUNCATED,
    WHOLE,
    Region,
    cut,
    room_bytes,
)
from throughput.jpeg.transcode import Transcoded, transcode

Box = tuple[int, int, int, int]
Pixels = NDArray[np.uint8]

LAYOUTS = ("444", "422", "440", "420", "411", "grey")
SIZES = ((131, 189), (301, 93), (50, 241), (40, 33), (330, 600))
WHOLE_ROWS = -1.0
"""A growth that leaves no room for more markers than one for each row."""
CANARY = 0xA5


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


@pytest.mark.parametrize("growth", [1.0, 0.0, WHOLE_ROWS])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_box_has_the_pixels_of_the_whole_image(layout: str, size: tuple[int, int], growth: float) -> None:
    original = encoded(*size, layout)
    made = transcode(original, growth=growth)
    whole = decoded(original)
    statuses = set()
    narrowest = size[1]
    for box in boxes_in(*size):
        region, small = cut_out(made.data, kept(made), box)
        statuses.add(region.status)
        if region.status == SPLICED:
            assert_shows(made.data, region, small, box, whole)
            narrowest = min(narrowest, region.width)
        found_again = cut_out(made.data, FOUND, box)
        assert found_again == (region, small)
    assert statuses == {SPLICED, WHOLE}
    if size == SIZES[0]:  # its rows have many divisors in every layout
        assert (narrowest == size[1]) == (growth == WHOLE_ROWS), "narrow intervals are cut across as well"


@pytest.mark.parametrize("layout", ["4:2:2", "4:2:0"])
@pytest.mark.parametrize(
    ("settings", "cuts"),
    [
        ({"restart_marker_rows": 1}, True),
        ({"restart_marker_rows": 2}, False),
        ({"restart_marker_blocks": 1}, True),
        ({"restart_marker_blocks": 3}, True),
        ({"restart_marker_blocks": 12}, True),
        ({"restart_marker_blocks": 4}, True),
        ({"restart_marker_blocks": 5}, False),
        ({"restart_marker_blocks": 48}, False),
        ({}, False),
        ({"progressive": True, "restart_marker_blocks": 1}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("width", [189, 180, 177])
def test_intervals_that_a_file_came_with(
    layout: str, settings: dict[str, Any], cuts: bool, width: int
) -> None:
    """12 MCUs in a row; the last has 13 pixels, or 4, or 1."""
    data = by_pillow(picture(131, width), subsampling=layout, quality=90, **settings)
    whole = decoded(data)
    statuses = set()
    for box in boxes_in(131, width):
        region, small = cut_out(data, FOUND, box)
        statuses.add(region.status)
        if region.status == SPLICED:
            assert_shows(data, region, small, box, whole)
    assert statuses == ({SPLICED, WHOLE} if cuts else {NOT_ADDRESSABLE})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8\xff",
        by_pillow(picture(20, 30), kind="PNG"),
        by_pillow(picture(20, 30), "CMYK", restart_marker_blocks=1),
        by_pillow(picture(20, 30)),
    ],
    ids=["empty", "one byte", "SOI only", "PNG", "CMYK", "no intervals"],
)
def test_what_has_no_intervals_to_cut_at(data: bytes) -> None:
    assert cut_out(data, FOUND, (0, 0, 4, 4)) == (Region(NOT_ADDRESSABLE, 0, 0, 0, 0, 0), b"")


MADE = transcode(encoded(131, 189, "420"), growth=1.0)
"""9 rows of 4 intervals."""
INSIDE: Box = (70, 60, 40, 60)
"""Rows 4 to 6, intervals 1 and 2 of each: 17, 18, 21, 22, 25, 26."""


def marker(number: int) -> int:
    """Where the marker behind an interval begins."""
    return MADE.scan_offset + int(MADE.interval_bytes[: number + 1].sum()) + 2 * number


def status_of(data: bytes, lengths: NDArray[np.uint16] = FOUND, box: Box = INSIDE) -> int:
    region, small = cut_out(data, lengths, box)
    assert region.status < 0
    assert region == Region(region.status, 0, 0, 0, 0, 0)
    assert small == b""
    assert DAMAGES[region.status]
    return region.status


def replaced(place: int, new: bytes, removed: int | None = None) -> bytes:
    """The file with bytes at ``place`` overwritten, or put in place of as many as ``removed``."""
    return MADE.data[:place] + new + MADE.data[place + (len(new) if removed is None else removed) :]


def test_the_file_that_is_damaged_here_is_sound() -> None:
    assert len(MADE.interval_bytes) == 36
    assert cut_out(MADE.data, FOUND, INSIDE)[0].status == SPLICED
    for number in range(35):
        assert MADE.data[marker(number) : marker(number) + 2] == bytes((0xFF, 0xD0 + number % 8))


@pytest.mark.parametrize("number", [17, 18, 21, 25])
def test_markers_out_of_order_or_missing(number: int) -> None:
    place = marker(number)
    for wrong in (bytes((0xFF, 0xD0 + (number + 1) % 8)), b"\xff\xd9", b"\xff\xc4", b"\x12\x34"):
        assert status_of(replaced(place, wrong), kept(MADE)) == BAD_INDEX
        # Where EOI comes too soon, nobody can tell a wrong marker from a file that was cut off.
        assert status_of(replaced(place, wrong)) in (BAD_MARKER, TRUNCATED)
    gone = replaced(place, b"", removed=2)
    assert status_of(gone) in (BAD_MARKER, TRUNCATED)
    assert status_of(gone, kept(MADE)) in (BAD_INDEX, TRUNCATED)


def test_an_interval_too_few_or_too_many() -> None:
    begin, end = marker(20), marker(21)
    assert status_of(replaced(begin, b"", removed=end - begin)) == BAD_MARKER
    assert status_of(replaced(end, MADE.data[begin:end], removed=0)) == BAD_MARKER
    last = marker(34)
    assert status_of(replaced(last, b"", removed=len(MADE.data) - 2 - last)) == TRUNCATED
    again = b"\xff\xd3" + MADE.data[last + 2 : -2]
    assert status_of(replaced(len(MADE.data) - 2, again, removed=0)) == BAD_MARKER


def test_an_index_of_another_file() -> None:
    same_layout = transcode(encoded(131, 189, "420", seed=5), growth=1.0)
    other_layout = transcode(encoded(131, 189, "444"), growth=1.0)
    assert len(same_layout.interval_bytes) == len(MADE.interval_bytes)
    assert status_of(MADE.data, kept(same_layout)) in (BAD_INDEX, TRUNCATED)
    assert status_of(same_layout.data, kept(MADE)) in (BAD_INDEX, TRUNCATED)
    assert status_of(MADE.data, kept(other_layout)) == BAD_INDEX
    assert status_of(MADE.data, kept(MADE)[:-1]) == BAD_INDEX


def test_an_index_whose_lengths_are_swapped() -> None:
    """Their sum is right: only the markers of the region tell."""
    lengths = kept(MADE).copy()
    assert lengths[17] != lengths[18]
    lengths[[17, 18]] = lengths[[18, 17]]
    assert status_of(MADE.data, lengths) == BAD_INDEX
    lengths = kept(MADE).copy()
    lengths[-1] -= 4
    assert status_of(MADE.data, lengths) == BAD_INDEX, "no end of the image behind them"
    lengths[:] = 0xFFFF
    assert status_of(MADE.data, lengths) == TRUNCATED


def test_a_file_cut_off_anywhere() -> None:
    for length in range(4, len(MADE.data), 7):
        expected = BAD_HEADER if length < MADE.scan_offset else TRUNCATED
        assert status_of(MADE.data[:length]) == expected
        assert status_of(MADE.data[:length], kept(MADE)) == expected


def test_long_segments_that_no_decoder_needs_are_left_out() -> None:
    exif = b"\xff\xe1\xff\xff" + bytes(0xFFFD)
    region, small = cut_out(MADE.data[:2] + exif + MADE.data[2:], kept(MADE), INSIDE)
    assert (region, small) == cut_out(MADE.data, kept(MADE), INSIDE)


def test_more_tables_than_there_is_room_for() -> None:
    place = MADE.data.index(b"\xff\xdb")
    data = replaced(place, 40 * MADE.data[place : place + 69], removed=0)
    out = np.full(room_bytes(len(data)), CANARY, np.uint8)
    region = cut(np.frombuffer(data, np.uint8), kept(MADE), INSIDE, out)
    assert region == Region(NOT_ADDRESSABLE, 0, 0, 0, 0, 0)
    assert (out[room_bytes(0) :] == CANARY).all()


def header_damages() -> dict[str, bytes]:
    frame, scan = MADE.data.index(b"\xff\xc0"), MADE.data.index(b"\xff\xda")
    restart = MADE.data.index(b"\xff\xdd")
    return {
        "no width": replaced(frame + 7, b"\x00\x00"),
        "frame's length": replaced(frame + 2, b"\x00\x12"),
        "frame too short": replaced(frame + 2, b"\x00\x05"),
        "two frames": replaced(frame, MADE.data[frame : frame + 19], removed=0),
        "no marker": replaced(restart, b"\x00"),
        "restart's length": replaced(restart + 2, b"\x00\x05"),
        "length below two": replaced(2 + 2, b"\x00\x01"),
        "length beyond the end": replaced(2 + 2, b"\xff\xff"),
        "no frame": replaced(frame, b"", removed=19),
        "scan before all else": MADE.data[:2] + MADE.data[scan:],
    }


@pytest.mark.parametrize("kind", header_damages())
def test_a_damaged_header(kind: str) -> None:
    data = header_damages()[kind]
    assert status_of(data) == BAD_HEADER
    assert status_of(data, kept(MADE)) == BAD_HEADER


@pytest.mark.parametrize("box", [(200, 60, 10, 10), (70, 300, 10, 10), (200, 300, 10, 10)], ids=str)
def test_a_box_beyond_the_image_is_damage(box: Box) -> None:
    """An index that says larger sizes than the file's header asks for such boxes."""
    assert status_of(MADE.data, FOUND, box) == BAD_HEADER
    assert status_of(MADE.data, kept(MADE), box) == BAD_HEADER


@pytest.mark.parametrize("size", [(131, 190), (130, 189), (189, 131)], ids=str)
def test_an_image_of_another_size_than_was_kept(size: tuple[int, int]) -> None:
    data, out = np.frombuffer(MADE.data, np.uint8), np.zeros(room_bytes(len(MADE.data)), np.uint8)
    for lengths in (FOUND, kept(MADE)):
        assert cut(data, lengths, INSIDE, out, size) == Region(BAD_INDEX, 0, 0, 0, 0, 0)
        assert cut(data, lengths, INSIDE, out, (131, 189)).status == SPLICED


def mutated(data: bytes, header: int, rng: np.random.Generator) -> bytes:
    """A few changes of any kind, half of them in the header."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        most = min(header, len(changed)) if rng.random() < 0.5 else len(changed)
        place = int(rng.integers(max(1, most)))
        end = place + int(rng.integers(1, 20))
        match int(rng.integers(6)):
            case 0:
                changed[place : place + 1] = bytes((int(rng.choice([0, 1, 0xFF, 0xD0, 0xD9, 0xDA])),))
            case 1:
                changed[place : place + 1] = bytes(v ^ 1 << int(rng.integers(8)) for v in changed[place:][:1])
            case 2:
                changed[place:end] = rng.bytes(end - place)
            case 3:
                del changed[place:end]
            case 4:
                changed[place:place] = changed[max(0, place - 9) : place + 9]
            case 5:
                del changed[max(place, 2) :]
    return bytes(changed)


def test_mutations_never_write_or_read_beyond_their_arrays() -> None:
    """What lies behind the file must not matter, and what lies behind the output must stay."""
    rng = np.random.default_rng(7)
    files = [transcode(encoded(131, 189, layout), growth=1.0) for layout in LAYOUTS]
    boxes = [*boxes_in(131, 189)]
    statuses = set()
    for number in range(2000):
        made = files[number % len(files)]
        data = mutated(made.data, made.scan_offset, rng)
        lengths = kept(made) if number % 2 else FOUND
        if number % 8 == 1:
            lengths = rng.permutation(lengths.copy())
        box = boxes[int(rng.integers(len(boxes)))]
        room = room_bytes(len(data))
        results = []
        for behind in (b"\xff\xd9" * 512, b"\x00\x3f" * 512):
            padded = np.frombuffer(data + behind, np.uint8)
            out = np.full(room + 4096, CANARY, np.uint8)
            region = cut(padded[: len(data)], lengths, box, out[:room])
            assert (out[room:] == CANARY).all()
            results.append((region, out[: region.size_bytes].tobytes()))
        assert results[0] == results[1]
        region, small = results[0]
        assert region.status in (SPLICED, WHOLE, NOT_ADDRESSABLE) or region.status in DAMAGES
        statuses.add(region.status)
        if region.status == SPLICED:
            assert region.height > 0 < region.width
            assert small[:2] + small[-2:] == b"\xff\xd8\xff\xd9"
        else:
            assert region == Region(region.status, 0, 0, 0, 0, 0)
    assert statuses == {SPLICED, WHOLE, NOT_ADDRESSABLE, *DAMAGES}
