"""Files of several scans that only look like they could become one scan: they pass as they are.

Their coefficients can be read, but decoders would show another image of the one scan, or refuse one of both.
"""

from __future__ import annotations

from itertools import pairwise
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
    pixels,
    read,
    save,
    scene,
    segment,
    segments,
)

from throughput.jpeg import scans
from throughput.jpeg.transcode import transcode

FILES = Path(__file__).parent / "files"
GREY = save(scene(24, 20)[..., 0], progressive=True, quality=60)
COLOUR = save(scene(40, 60), progressive=True, quality=60)
BANDS = (FILES / "bands.jpg").read_bytes()
END = bytes((0xFF, EOI))
APP0, APP1, APP14 = 0xE0, 0xE1, 0xEE
JFIF = b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
RGB_BY_ADOBE = b"Adobe\x00\x64\x00\x00\x00\x00\x00"


def assert_untouched(data: bytes, kind: str) -> None:
    made = transcode(data, 1.0)
    assert made.kind == kind
    assert made.reason
    assert made.data == data
    assert len(made.interval_bytes) == 0


def parts(data: bytes) -> list[bytes]:
    """The file in pieces that end behind the data of a scan each, without EOI."""
    ends, in_scan = [0], True
    for place, marker in later_markers(data, segments(data)[1]):
        if in_scan and marker in {DHT, SOS, EOI}:
            ends.append(place)
        in_scan = marker == SOS or (in_scan and 0xD0 <= marker <= 0xD7)
    assert data[ends[-1] :] == END
    return [data[begin:end] for begin, end in pairwise(ends)]


@pytest.mark.parametrize(
    ("data", "scans_in_all"), [(GREY, 6), (COLOUR, 10), (BANDS, 5)], ids=["grey", "colour", "bands"]
)
def test_coefficients_that_stay_inexact(data: bytes, scans_in_all: int) -> None:
    """Bits or bands never sent: libjpeg smooths blocks of such a file, and of no baseline one."""
    found = parts(data)
    assert len(found) == scans_in_all
    assert transcode(data, 1.0).kind == "progressive"
    for count in range(1, scans_in_all):
        cut = b"".join(found[:count]) + END
        reading = read(cut)
        assert reading is not None
        sent = all(np.any(component) for component in reading.coefficients)
        assert_untouched(cut, "unusual" if sent else "damaged")


def test_one_missing_scan_is_enough() -> None:
    """Whichever it is: the last bit of luma's coefficients, or of all DC values, or another."""
    found = parts(COLOUR)
    for missing in range(1, len(found)):
        assert_untouched(b"".join(found[:missing] + found[missing + 1 :]) + END, "unusual")


@pytest.mark.parametrize("again", range(1, 6))
def test_scans_that_send_again_what_is_known(again: int) -> None:
    found = parts(GREY)
    assert_untouched(b"".join(found[: again + 1] + found[again:]) + END, "unusual")
    assert_untouched(b"".join([*found, found[again]]) + END, "unusual")


def test_refinements_in_another_order_than_their_bits() -> None:
    found = parts(GREY)
    found[3], found[5] = found[5], found[3]
    assert_untouched(b"".join(found) + END, "unusual")


@pytest.mark.parametrize(
    ("marker", "body"),
    [(APP0, JFIF), (APP14, RGB_BY_ADOBE), (APP1, b"Exif\x00\x00"), (0xEF, b"anything")],
    ids=["JFIF", "Adobe", "EXIF", "APP15"],
)
def test_segments_that_say_how_to_show_an_image_do_not_move_before_it(marker: int, body: bytes) -> None:
    late = segment(marker, body)
    baseline = encode("420", 24, 40)
    assert_untouched(baseline[:-2] + late + END, "unusual")
    found = parts(COLOUR)
    for place in range(1, len(found) + 1):
        assert_untouched(b"".join((*found[:place], late, *found[place:], END)), "unusual")


def test_such_a_segment_would_change_the_colours() -> None:
    """What the test above guards against, as Pillow sees it."""
    data = encode("420", 24, 40)
    assert data[2:4] == bytes((0xFF, APP0))
    plain = data[:2] + data[20:]
    adobe = segment(APP14, RGB_BY_ADOBE)
    assert np.array_equal(pixels(plain[:-2] + adobe + END), pixels(plain))
    assert not np.array_equal(pixels(plain[:2] + adobe + plain[2:]), pixels(plain))


def test_scans_have_a_limit_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grey image's scans as libjpeg chooses them: DC, 1-5, 6-63, then a bit of AC, of DC, of AC."""
    coefficients = 3 * 3 * (1 + 5 + 58 + 63 + 1 + 63)
    monkeypatch.setattr(scans, "MOST_STEPS", coefficients)
    assert transcode(GREY, 1.0).kind == "progressive"
    monkeypatch.setattr(scans, "MOST_STEPS", coefficients - 1)
    assert_untouched(GREY, "unusual")


def test_the_largest_images_may_have_common_scans() -> None:
    """Of 4:4:4, as libjpeg chooses them: luma's as above; DC, AC and a bit more of each of both chromas."""
    blocks = 2 * 89_478_485 // 64
    assert blocks * (191 + 2 * (1 + 63 + 1 + 63)) < scans.MOST_STEPS


def sequential_in_three_scans(symbols: bytes, coded: int) -> bytes:
    """8 x 8 pixels. Codes are a 0 for "no difference" (DC), a 0 for an AC symbol, and 10 for another."""
    frame = bytes((8, 0, 8, 0, 8, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
    counts = b"\x01" * len(symbols) + bytes(16 - len(symbols))
    tables = b"\x00\x01" + bytes(16) + b"\x10" + counts + symbols
    made = b"\xff\xd8" + segment(DQT, b"\x00" + b"\x01" * 64) + segment(0xC0, frame) + segment(DHT, tables)
    for component in (1, 2, 3):
        made += segment(SOS, bytes((1, component, 0, 0, 63, 0))) + bytes((coded,))
    return made + END


@pytest.mark.parametrize(
    ("symbols", "coded"),
    [(b"\x00", 0b0_0_111111), (b"\x00\xe1", 0b0_101_0_111)],
    ids=["nothing", "a value"],
)
def test_blocks_in_each_of_three_scans(symbols: bytes, coded: int) -> None:
    data = sequential_in_three_scans(symbols, coded)
    made = transcode(data, 1.0)
    assert made.kind == "baseline"
    assert is_same(read(made.data), read(data))


@pytest.mark.parametrize(
    ("symbols", "coded"),
    [
        (b"\x10", 0b0_0_111111),
        (b"\x20", 0b0_0_111111),
        (b"\x50", 0b0_0_111111),
        (b"\x30\x00", 0b0_0_10_1111),
        (b"\xf0", 0b0_0000_111),
        (b"\xf0\xe1", 0b0_101_000_1),
    ],
    ids=["EOB1", "EOB2", "EOB5", "EOB3 before EOB0", "zeros beyond the block", "zeros up to its end"],
)
def test_symbols_of_the_progressive_process_are_damage_in_a_sequential_file(
    symbols: bytes, coded: int
) -> None:
    """Read as in a progressive file, each of these would be sound; libjpeg guesses what is meant."""
    data = sequential_in_three_scans(symbols, coded)
    assert read(data) is not None
    assert_untouched(data, "damaged")
