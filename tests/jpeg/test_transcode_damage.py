"""What the transcoder leaves as it is: other kinds of files, and damaged ones, never with an exception."""

from __future__ import annotations

import io
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from oracle import (
    DHT,
    DQT,
    EOI,
    SOS,
    encode,
    is_same,
    later_markers,
    patched,
    read,
    save,
    scene,
    segment,
    segments,
)
from PIL import Image

from throughput.jpeg.huffman import HuffmanTable, is_sound
from throughput.jpeg.transcode import transcode

FILES = Path(__file__).parent / "files"
GREY = save(scene(14, 19)[..., 0], optimize=True, quality=60)
COLOUR = encode("420", 24, 40, quality=60)
PROGRESSIVE = save(scene(24, 20), progressive=True, quality=60)
RESTARTS = save(scene(40, 72), restart_marker_blocks=2, quality=60)


def assert_untouched(data: bytes, *kinds: str) -> None:
    made = transcode(data, 1.0)
    assert made.kind in kinds
    assert made.reason
    assert made.data == data
    assert made.scan_offset == 0
    assert len(made.interval_bytes) == 0


def assert_same_or_untouched(data: bytes) -> bool:
    """Whether the file was transcoded, which must be lossless; it must come back as it was else."""
    made = transcode(data, 1.0)
    if made.kind in {"baseline", "progressive"}:
        assert is_same(read(data), read(made.data))
        return True
    assert made.data == data
    assert made.reason
    return False


def place_of(data: bytes, marker: int) -> int:
    """Where the first marker of this kind lies in the headers."""
    place = 2
    for found, body in segments(data)[0]:
        if found == marker:
            return place
        place += 4 + len(body)
    raise AssertionError(marker)


def without(data: bytes, marker: int) -> bytes:
    """The file without its segments of this kind."""
    found, behind = segments(data)
    left = [
        bytes((0xFF, kind)) + (len(body) + 2).to_bytes(2, "big") + body
        for kind, body in found
        if kind != marker
    ]
    return data[:2] + b"".join(left) + data[behind:]


def cmyk() -> bytes:
    data = io.BytesIO()
    Image.new("CMYK", (20, 20), (1, 2, 3, 4)).save(data, "JPEG")
    return data.getvalue()


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (20, 20)).save(data, "PNG")
    return data.getvalue()


FRAME = place_of(COLOUR, 0xC0)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "not a JPEG"),
        (b"\xff", "not a JPEG"),
        (b"some text\n" * 30, "not a JPEG"),
        (png(), "not a JPEG"),
        (COLOUR[1:], "not a JPEG"),
        (b"\xff\xd8", "damaged"),
        (b"\xff\xd8\xff\xd9", "damaged"),
        (b"\xff\xd8" + bytes(99), "damaged"),
        (b"\xff\xd8" + b"\xff" * 99, "damaged"),
        (cmyk(), "CMYK"),
        ((FILES / "arithmetic.jpg").read_bytes(), "arithmetic-coded"),
        ((FILES / "arithmetic_progressive.jpg").read_bytes(), "arithmetic-coded"),
        (patched(COLOUR, FRAME + 4, b"\x0c"), "12-bit"),
        (patched(COLOUR, FRAME + 5, b"\x00\x00"), "unusual"),
        (patched(COLOUR, FRAME + 7, b"\x00\x00"), "damaged"),
        (patched(COLOUR, FRAME + 11, b"\x00"), "damaged"),
        (patched(COLOUR, FRAME + 11, b"\x44"), "unusual"),
        (patched(COLOUR, FRAME + 13, b"\x01"), "unusual"),
        (COLOUR[:FRAME] + 2 * COLOUR[FRAME : FRAME + 19] + COLOUR[FRAME + 19 :], "unusual"),
        (without(COLOUR, DHT), "damaged"),
        (without(COLOUR, DQT), "damaged"),
        (without(COLOUR, 0xC0), "damaged"),
        (without(COLOUR, SOS), "damaged"),
        (patched(COLOUR, place_of(COLOUR, DHT) + 4, b"\x02"), "damaged"),
        (COLOUR[:-2] + b"\xff\xdc\x00\x04\x00\x18\xff\xd9", "unusual"),
        (COLOUR[:-2] + b"\xff\xd0\xff\xd9", "damaged"),
        (COLOUR[:-2] + COLOUR[place_of(COLOUR, SOS) :], "unusual"),
        (COLOUR[:-2] + b"\x00\x00\xff\xd9", "damaged"),
    ],
    ids=[
        "empty", "one byte", "text", "PNG", "no SOI", "SOI only", "no image", "zeros", "fill only", "CMYK",
        "arithmetic", "arithmetic progressive", "12-bit", "height by DNL", "no width", "no sampling",
        "a large MCU", "two components of one name", "two frames", "no Huffman tables", "no quantisation",
        "no frame", "no scan", "one Huffman table elsewhere", "DNL", "a marker behind the data",
        "the scan twice", "bytes behind the data",
    ],
)  # fmt: skip
def test_other_files_pass_untouched(data: bytes, kind: str) -> None:
    assert_untouched(data, kind)


@pytest.mark.parametrize(
    ("process", "kind"),
    [
        *((process, "lossless or hierarchical") for process in (3, 5, 6, 7)),
        *((process, "arithmetic-coded") for process in (9, 10, 11, 13, 14, 15)),
    ],
)
def test_frames_of_other_processes_pass_untouched(process: int, kind: str) -> None:
    assert_untouched(patched(COLOUR, FRAME + 1, bytes((0xC0 + process,))), kind)


@pytest.mark.parametrize(
    "data", [GREY, COLOUR, PROGRESSIVE, RESTARTS], ids=["grey", "colour", "progressive", "restarts"]
)
def test_a_file_cut_anywhere_passes_untouched(data: bytes) -> None:
    assert transcode(data, 1.0).reason == ""
    for length in range(len(data)):
        assert_untouched(data[:length], "damaged" if length > 1 else "not a JPEG")


def test_a_bit_flipped_in_the_header_is_never_guessed_about() -> None:
    transcoded = 0
    behind = segments(GREY)[1]
    for bit in range(8 * behind):
        data = bytearray(GREY)
        data[bit // 8] ^= 1 << bit % 8
        transcoded += assert_same_or_untouched(bytes(data))
    # Resolutions and quantisation values may say anything.
    assert 8 * 64 < transcoded < 8 * behind * 0.8


@pytest.mark.parametrize("file", [COLOUR, PROGRESSIVE, RESTARTS], ids=["colour", "progressive", "restarts"])
def test_random_bytes_in_the_image_data(file: bytes) -> None:
    random = np.random.default_rng(3)
    behind = segments(file)[1]
    transcoded = 0
    for _ in range(250):
        data = bytearray(file)
        length = int(random.integers(1, 6))
        place = int(random.integers(behind, len(data) - 2 - length))
        data[place : place + length] = random.bytes(length)
        transcoded += assert_same_or_untouched(bytes(data))
    assert transcoded < 250


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("fill", [b"\xff", b"\xff\xff"], ids=len)
def test_fill_bytes_before_a_stuffed_zero(progressive: bool, fill: bytes) -> None:
    """libjpeg-turbo reads them in two ways, and shows other pixels for it: they are for markers only."""
    file = save(scene(24, 20), progressive=progressive, quality=98)
    assert transcode(file, 1.0).reason == ""
    behind = segments(file)[1]
    places = [behind + found.start() for found in re.finditer(b"\xff\x00", file[behind:])]
    assert places
    for place in places:
        assert_untouched(file[:place] + fill + file[place:], "damaged")


def _swapped(data: bytes, places: list[int]) -> bytes:
    first, second = places[2], places[3]
    return patched(patched(data, first, data[second : second + 2]), second, data[first : first + 2])


@pytest.mark.parametrize(
    "change",
    [
        lambda data, places: data[: places[2]] + data[places[2] + 2 :],
        lambda data, places: data[: places[2]] + data[places[3] :],
        lambda data, places: data[: places[2]] + b"\xff\xd2" + data[places[2] :],
        lambda data, places: patched(data, places[2], b"\xff\xd3"),
        lambda data, places: patched(data, places[2], b"\xff\xd9"),
        lambda data, places: data[: places[2]] + b"\x00" + data[places[2] :],
        lambda data, _: without(data, 0xDD),
        lambda data, _: patched(data, place_of(data, 0xDD) + 4, b"\x00\x03"),
        _swapped,
    ],
    ids=[
        "missing",
        "interval missing",
        "twice",
        "another",
        "EOI",
        "late",
        "no DRI",
        "another interval",
        "swapped",
    ],
)
def test_restart_markers_out_of_place(change: Callable[[bytes, list[int]], bytes]) -> None:
    places = [place for place, _ in later_markers(RESTARTS, segments(RESTARTS)[1])]
    assert [RESTARTS[place + 1] for place in places[:4]] == [0xD0, 0xD1, 0xD2, 0xD3]
    assert_untouched(change(RESTARTS, places), "damaged")


@pytest.mark.parametrize("file", [COLOUR, PROGRESSIVE], ids=["baseline", "progressive"])
@pytest.mark.parametrize(
    "behind",
    [COLOUR, GREY[:20], b"\0\0\0\x18ftypmp42" + b"film" * 99, bytes(999) + b"a gain map" * 9],
    ids=["an image", "a little of one", "a film", "far behind"],
)
def test_a_file_with_more_than_an_image_passes_untouched(file: bytes, behind: bytes) -> None:
    assert_untouched(file + behind, "data behind the image")


@pytest.mark.parametrize("padding", [b"\0", bytes(5000), b"\xff" * 9, b"padded by a camera"], ids=len)
def test_padding_behind_the_image_is_left_out(padding: bytes) -> None:
    for file in (COLOUR, PROGRESSIVE):
        assert transcode(file + padding, 1.0).data == transcode(file, 1.0).data


@pytest.mark.parametrize("file", [COLOUR, PROGRESSIVE], ids=["baseline", "progressive"])
@pytest.mark.parametrize(
    ("height", "width", "kind"),
    [(65500, 65500, "unusual"), (13377, 13378, "unusual"), (13377, 13377, "damaged"), (200, 200, "damaged")],
)
def test_a_decompression_bomb_is_not_allocated(file: bytes, height: int, width: int, kind: str) -> None:
    """Unusual: of more pixels than Pillow's limit. Damaged: of more than its bytes can hold."""
    frame = place_of(file, 0xC2 if file is PROGRESSIVE else 0xC0)
    bomb = patched(file, frame + 5, height.to_bytes(2, "big") + width.to_bytes(2, "big"))
    assert_same_or_untouched(file)
    tracemalloc.start()
    try:
        assert_untouched(bomb, kind)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_huffman_table_of_too_many_symbols_is_damage() -> None:
    counts, values = bytes(8) + bytes([255] * 2) + bytes(6), bytes(510)
    assert not is_sound(HuffmanTable(counts, values))  # before it could be written beyond 256 places
    place = place_of(GREY, DHT)
    assert_untouched(GREY[:place] + segment(DHT, b"\x13" + counts + values) + GREY[place:], "damaged")


def test_a_huffman_table_that_libjpeg_refuses_is_damage() -> None:
    """A DC symbol above 15, in a table that is used; what cannot be decoded must not become decodable."""
    place = place_of(COLOUR, DHT)
    assert COLOUR[place + 4] == 0
    data = patched(COLOUR, place + 4 + 17 + 11, b"\x7f")
    assert read(data) is None
    assert_untouched(data, "damaged")


@pytest.mark.parametrize("kind", [0x00, 0x10], ids=["DC", "AC"])
def test_a_code_of_all_ones_is_damage(kind: int) -> None:
    """libjpeg refuses it, wherever it is used: what cannot be decoded must not become decodable."""
    place = place_of(GREY, DHT)
    while GREY[place + 4] != kind:
        place += 2 + int.from_bytes(GREY[place + 2 : place + 4], "big")
    end = place + 2 + int.from_bytes(GREY[place + 2 : place + 4], "big")
    counts, values = bytearray(GREY[place + 5 : place + 21]), GREY[place + 21 : end]
    longest = max(length for length in range(16) if counts[length])
    counts[longest] += 1
    data = GREY[:place] + segment(DHT, bytes((kind, *counts)) + values + b"\x09") + GREY[end:]
    assert read(GREY) is not None
    assert read(data) is None
    assert_untouched(data, "damaged")


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """One to three bits, bytes or runs of bytes changed, taken out or put in, anywhere behind SOI."""
    changed = bytearray(data)
    kind = random.integers(5)
    for _ in range(random.integers(1, 4)):
        place, length = int(random.integers(2, len(changed))), int(random.integers(1, 9))
        if kind == 0:
            changed[place] ^= 1 << int(random.integers(8))
        elif kind == 1:
            changed[place] = int(random.integers(256))
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = random.bytes(length)
        else:
            changed[place] = (0x00, 0xFF, 0xD0, EOI, SOS)[int(random.integers(5))]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_mutations_never_raise_and_never_change_an_image(seed: int) -> None:
    random = np.random.default_rng(seed)
    names = ("scans_pairs", "deep", "progressive_411", "mixed_factors")
    files = [GREY, COLOUR, PROGRESSIVE, RESTARTS, *((FILES / f"{name}.jpg").read_bytes() for name in names)]
    transcoded = sum(assert_same_or_untouched(mutated(files[number % 8], random)) for number in range(500))
    assert 25 < transcoded < 400
