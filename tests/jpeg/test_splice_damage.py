"""Damaged JPEGs, and indexes that are not theirs: each is named when a region is cut."""

from __future__ import annotations

import numpy as np
import pytest
from cutting import LAYOUTS, Box, boxes_in, cut_out, encoded, kept
from numpy.typing import NDArray

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
from throughput.jpeg.transcode import transcode

CANARY = 0xA5
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
    """Their sum is right: only the markers tell."""
    lengths = kept(MADE).copy()
    assert lengths[17] != lengths[18]
    lengths[[17, 18]] = lengths[[18, 17]]
    assert status_of(MADE.data, lengths) == BAD_INDEX
    lengths = kept(MADE).copy()
    lengths[-1] -= 4
    assert status_of(MADE.data, lengths) == BAD_INDEX, "no end of the image behind them"
    lengths[:] = 0xFFFF
    assert status_of(MADE.data, lengths) == TRUNCATED


EVERYTHING: Box = (0, 0, 131, 189)


@pytest.mark.parametrize("box", [INSIDE, (70, 0, 40, 60), (70, 100, 40, 60), EVERYTHING], ids=str)
def test_an_index_that_is_wrong_at_one_border_of_intervals(box: Box) -> None:
    """Wherever it is: the interval behind it would begin in the middle of another one."""
    for number in range(len(MADE.interval_bytes) - 1):
        for shift in (-4, 4):
            lengths = MADE.interval_bytes.astype(np.int64)
            lengths[number] += shift
            lengths[number + 1] -= shift
            assert status_of(MADE.data, lengths.astype(np.uint16), box) == BAD_INDEX


def test_damage_is_found_where_the_box_needs_every_interval() -> None:
    assert cut_out(MADE.data, kept(MADE), EVERYTHING)[0].status == WHOLE
    for number in range(35):
        wrong = bytes((0xFF, 0xD0 + (number + 1) % 8))
        assert status_of(replaced(marker(number), wrong), kept(MADE), EVERYTHING) == BAD_INDEX
    assert status_of(MADE.data, kept(MADE)[:-1], EVERYTHING) == BAD_INDEX
    assert status_of(replaced(len(MADE.data) - 1, b"\x00"), kept(MADE), EVERYTHING) == BAD_INDEX
    assert status_of(MADE.data[:-9], kept(MADE), EVERYTHING) == TRUNCATED


def test_a_restart_interval_that_the_index_contradicts() -> None:
    """Nothing could be cut, and decoded whole it would be noise."""
    restart = MADE.data.index(b"\xff\xdd")
    for interval in (0, 5):
        damaged = replaced(restart + 4, interval.to_bytes(2, "big"))
        assert status_of(damaged, kept(MADE)) == BAD_INDEX


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
