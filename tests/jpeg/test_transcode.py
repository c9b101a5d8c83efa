"""Lossless transcoding against an independent decoder: coefficients, tables, metadata, pixels, and the form.

tests/jpeg/test_transcode_damage.py has the files that pass as they are.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracle import (
    DQT,
    DRI,
    EOI,
    LAYOUTS,
    SOS,
    body_of,
    encode,
    grid,
    is_same,
    later_markers,
    pixels,
    read,
    save,
    scene,
    segments,
)
from PIL import Image

from throughput.jpeg.transcode import Transcoded, transcode

FILES = Path(__file__).parent / "files"
NARROW: dict[str, Any] = {"growth": 1.0}
ROWS: dict[str, Any] = {"growth": 1.0, "interval_pixels": 1 << 16}
"""How intervals become as narrow as they may be, and as wide as the image."""
SIZES = [(1, 1), (7, 9), (8, 8), (16, 16), (17, 33), (1, 211), (211, 1), (33, 200), (40, 293)]


def assert_lossless(data: bytes, settings: dict[str, Any], kind: str = "baseline") -> Transcoded:
    """The same image in the form that regions need."""
    made = transcode(data, **settings)
    assert (made.kind, made.reason) == (kind, "")
    before, after = read(data), read(made.data)
    assert before is not None
    assert after is not None
    assert is_same(before, after)
    assert (made.height, made.width) == (before.height, before.width)
    assert np.array_equal(pixels(data), pixels(made.data))
    assert_form(made)
    assert kept(data) == kept(made.data)
    return made


def assert_form(made: Transcoded) -> None:
    """One baseline scan with the markers where the result says, intervals that divide rows."""
    found, behind = segments(made.data)
    markers = [marker for marker, _ in found]
    wide_tables = any(marker == DQT and body[0] >> 4 for marker, body in found)
    assert sum(marker in {0xC0, 0xC1, 0xC2} for marker in markers) == 1
    assert (0xC1 if wide_tables else 0xC0) in markers
    assert made.scan_offset == behind
    frame, scan = body_of(made.data, 0xC0, 0xC1), body_of(made.data, SOS)
    assert frame is not None
    assert scan is not None
    assert scan[0] == frame[5]
    assert list(scan[1:-3:2]) == list(frame[6::3])
    assert scan[-3:] == bytes((0, 63, 0))
    assert all(max(selector >> 4, selector & 15) <= 1 for selector in scan[2:-3:2])

    rows, columns, mcu_width = grid(made.data)
    interval = interval_of(made)
    intervals = -(-rows * columns // (interval or rows * columns))
    assert made.interval_bytes.dtype == np.uint32
    assert len(made.interval_bytes) == intervals
    if interval:
        assert columns % interval == 0 or interval % columns == 0
        assert interval >= columns or interval * mcu_width >= 48
        assert intervals > 1
    else:
        assert rows == 1
    expected, place = [], made.scan_offset
    for number, length in enumerate(made.interval_bytes.tolist()):
        place += length
        expected.append((place, EOI if number == intervals - 1 else 0xD0 + number % 8))
        place += 2
    assert later_markers(made.data, made.scan_offset) == expected
    assert place == len(made.data)


def interval_of(made: Transcoded) -> int:
    """MCUs between restarts as the file says; 0 for none."""
    return int.from_bytes(body_of(made.data, DRI) or b"", "big")


def kept(data: bytes) -> list[tuple[int, bytes]]:
    """APPn, COM and quantisation tables before the first scan."""
    return [one for one in segments(data)[0] if one[0] == DQT or 0xE0 <= one[0] <= 0xEF or one[0] == 0xFE]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_layout_and_size(layout: str, size: tuple[int, int]) -> None:
    data = encode(layout, *size)
    narrow, rows = assert_lossless(data, NARROW), assert_lossless(data, ROWS)
    assert is_same(read(narrow.data), read(rows.data))


@pytest.mark.parametrize("size", [(8000, 16), (16, 8000), (1100, 1200)], ids=["tall", "wide", "large"])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_large_images(size: tuple[int, int], progressive: bool) -> None:
    data = save(scene(*size), quality=90, subsampling=2, progressive=progressive)
    made = assert_lossless(data, NARROW, "progressive" if progressive else "baseline")
    assert len(made.interval_bytes) > 20


@pytest.mark.parametrize(
    "settings",
    [{"optimize": True}, *({"restart_marker_blocks": blocks} for blocks in (1, 2, 5, 7, 1000))]
    + [{"restart_marker_rows": rows, "optimize": True} for rows in (1, 2)],
    ids=str,
)
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("layout", ["Gray", "444", "422", "420"])
def test_tables_and_restart_intervals_of_the_original(
    settings: dict[str, Any], progressive: bool, layout: str
) -> None:
    image = scene(41, 123)
    subsampling = 0 if layout == "Gray" else ["444", "422", "420"].index(layout)
    data = save(
        image[..., 0] if layout == "Gray" else image,
        progressive=progressive,
        subsampling=subsampling,
        **settings,
    )
    for intervals in (NARROW, ROWS):
        assert_lossless(data, intervals, "progressive" if progressive else "baseline")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("subsampling", [None, 0, 1, 2])
def test_progressive_files_of_every_size(size: tuple[int, int], subsampling: int | None) -> None:
    image = scene(*size)
    if subsampling is None:
        data = save(image[..., 0], progressive=True, quality=95)
    else:
        data = save(image, progressive=True, quality=95, subsampling=subsampling)
    assert_lossless(data, NARROW, "progressive")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("scans_apart", "baseline"),
        ("scans_pairs", "baseline"),
        ("bands", "progressive"),
        ("deep", "progressive"),
        ("deep_440", "progressive"),
        ("progressive_411", "progressive"),
        ("mixed_factors", "baseline"),
        ("coarse_luma", "progressive"),
        ("thirds", "baseline"),
        ("wide_tables", "baseline"),
        ("rgb", "baseline"),
    ],
)
def test_files_of_other_encoders(name: str, kind: str) -> None:
    data = (FILES / f"{name}.jpg").read_bytes()
    for intervals in (NARROW, ROWS):
        assert_lossless(data, intervals, kind)


def test_tables_of_sixteen_bits_stay_in_the_extended_process() -> None:
    data = (FILES / "wide_tables.jpg").read_bytes()
    reading = read(data)
    assert reading is not None
    assert max(int(table.max()) for table in reading.tables) > 255
    assert body_of(transcode(data, **NARROW).data, 0xC1)


@pytest.mark.parametrize("factors", [0x22, 0x21, 0x14, 0x44])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_sampling_factors_of_a_grey_image_mean_nothing(factors: int, progressive: bool) -> None:
    data = bytearray(save(scene(21, 125)[..., 0], progressive=progressive))
    frame = data.index(bytes((0xFF, 0xC2 if progressive else 0xC0)))
    assert data[frame + 11] == 0x11
    data[frame + 11] = factors
    made = assert_lossless(bytes(data), NARROW, "progressive" if progressive else "baseline")
    assert interval_of(made) == 8  # of 16 blocks


def test_metadata_stays_byte_for_byte() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif[0x0112] = 6
    profile = np.random.default_rng(5).bytes(90_000)
    data = save(
        scene(20, 64), exif=exif, icc_profile=profile, comment=b"\xff\xd9 no end \xff\xda", dpi=(300, 300)
    )
    thumbnail = bytes((0xFF, 0xED, 0, 5)) + b"abc"
    data = data[:2] + thumbnail + data[2:]
    made = assert_lossless(data, NARROW)
    assert [marker for marker, _ in kept(made.data)][:4] == [0xED, 0xE0, 0xE1, 0xE2]
    assert profile[:60_000] in made.data


def test_comments_between_scans_move_before_them() -> None:
    data = save(scene(20, 64), progressive=True)
    place = data.index(bytes((0xFF, SOS)), segments(data)[1])
    comment = b"\xff\xfe\x00\x06late"
    made = transcode(data[:place] + comment + data[place:], **NARROW)
    assert made.kind == "progressive"
    assert comment in made.data[: made.scan_offset]
    assert is_same(read(made.data), read(data))


def marker_places(data: bytes) -> list[int]:
    """Where the markers of a file without fill bytes lie."""
    places = [2]
    found, behind = segments(data)
    for _, body in found[:-1]:
        places.append(places[-1] + 4 + len(body))
    return places + [place for place, _ in later_markers(data, behind)]


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_fill_bytes_before_markers_are_passed_over(progressive: bool) -> None:
    data = save(scene(33, 70), progressive=progressive, restart_marker_blocks=3)
    filled = data
    for number, place in reversed(list(enumerate(marker_places(data)))):
        filled = filled[:place] + b"\xff" * (1 + number % 3) + filled[place:]
    assert filled.endswith(b"\xff\xff\xd9")
    assert is_same(read(filled), read(data))
    made = assert_lossless(filled, NARROW, "progressive" if progressive else "baseline")
    assert made.data == transcode(data, **NARROW).data


@pytest.mark.parametrize(
    ("width", "interval"),
    [(96, 6), (48, 6), (40, 5), (47 * 8, 47), (104, 13), (14 * 8, 7), (8 * 35, 7), (8 * 60, 6), (8 * 64, 8)],
)
def test_the_interval_is_the_narrowest_divisor_of_a_row(width: int, interval: int) -> None:
    assert interval_of(assert_lossless(encode("444", 24, width), NARROW)) == interval
    assert interval_of(assert_lossless(encode("444", 24, width), ROWS)) == -(-width // 8)


@pytest.mark.parametrize(
    ("layout", "interval"), [("Gray", 6), ("422", 3), ("440", 6), ("420", 3), ("411", 2)]
)
def test_the_interval_is_told_in_mcus(layout: str, interval: int) -> None:
    assert interval_of(assert_lossless(encode(layout, 40, 192), NARROW)) == interval


def test_no_restarts_where_one_interval_holds_all() -> None:
    for size in ((16, 40), (8, 16), (1, 1), (16, 13 * 16)):
        made = assert_lossless(encode("420", *size), ROWS)
        assert body_of(made.data, DRI) is None


@pytest.mark.parametrize("quality", [90, 93, 96])
@pytest.mark.parametrize("size", [(375, 500), (500, 334), (256, 256), (640, 960)], ids=str)
def test_the_file_grows_by_no_more_than_is_allowed(quality: int, size: tuple[int, int]) -> None:
    data = save(scene(*size, seed=quality), quality=quality, optimize=True)
    counts = []
    for growth in (0.001, 0.005, 0.02, 1.0):
        made = assert_lossless(data, {"growth": growth})
        assert len(made.data) <= (1 + growth) * len(data)
        counts.append(len(made.interval_bytes))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_room_to_grow_is_used() -> None:
    data = save(scene(640, 960), quality=96, optimize=True)
    counts = [
        len(transcode(data, **settings).interval_bytes) for settings in (ROWS, {"growth": 0.005}, NARROW)
    ]
    assert counts[0] == 40
    assert counts[0] < counts[1] <= counts[2] == 40 * 20


def test_several_rows_are_one_interval_where_each_would_cost_too_much() -> None:
    data = save(scene(256, 250), quality=90, optimize=True)
    made = assert_lossless(data, {"growth": 0.001})
    assert interval_of(made) in (32, 64, 128)
    assert grid(made.data).columns == 16


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_a_file_that_any_interval_would_make_too_large_stays_as_it_is(progressive: bool) -> None:
    data = save(np.full((16, 8), 128, np.uint8), optimize=True, progressive=progressive)
    made = transcode(data, 0.005)
    assert (made.data, made.kind, len(made.interval_bytes)) == (data, "would grow too much", 0)
    assert made.reason == "restart intervals would add more than 0.5 %"
    assert (made.height, made.width) == (16, 8)


def test_a_progressive_file_grows_from_what_it_takes_as_a_baseline_one() -> None:
    image = scene(375, 500)
    data = save(image, quality=93, progressive=True)
    made = assert_lossless(data, {"growth": 0.005}, "progressive")
    least = len(save(image, quality=93, optimize=True))
    assert len(data) < len(made.data) <= 1.005 * least
    assert len(made.interval_bytes) >= 24


@pytest.mark.parametrize("settings", [ROWS, {"growth": 0.0}, {"growth": 0.005}, NARROW], ids=str)
def test_transcoding_twice_changes_nothing(settings: dict[str, Any]) -> None:
    for layout in LAYOUTS:
        once = transcode(encode(layout, 97, 193), **settings)
        twice = assert_lossless(once.data, settings)
        assert twice.data == once.data
        assert np.array_equal(twice.interval_bytes, once.interval_bytes)


def _noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(9).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((50, 130, 3), np.uint8),
        np.full((50, 130, 3), 255, np.uint8),
        _noise(50, 130),
        (_noise(50, 130) > 127).astype(np.uint8) * 255,
        np.kron(_noise(7, 17) // 128 * 255, np.ones((8, 8, 1), np.uint8)),
    ],
    ids=["black", "white", "noise", "extreme noise", "extreme blocks"],
)
@pytest.mark.parametrize("quality", [1, 50, 100])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_extreme_content(image: NDArray[np.uint8], quality: int, progressive: bool) -> None:
    data = save(image, quality=quality, progressive=progressive, subsampling=0)
    assert_lossless(data, NARROW, "progressive" if progressive else "baseline")


def optimised_by_jpegtran(data: bytes, interval: int, folder: Path) -> bytes:
    jpegtran = shutil.which("jpegtran")
    if jpegtran is None:
        pytest.skip("jpegtran is not installed")
    original = folder / "original.jpg"
    original.write_bytes(data)
    restart = ["-restart", f"{interval}B"] if interval else []
    command = [jpegtran, "-copy", "all", "-optimize", *restart, str(original)]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize("settings", [ROWS, NARROW], ids=["rows", "narrow"])
@pytest.mark.parametrize("size", [(17, 33), (120, 208), (200, 391)], ids=str)
@pytest.mark.parametrize("layout", [*LAYOUTS, "progressive"])
def test_jpegtran_writes_the_same_in_no_fewer_bytes(
    tmp_path: Path, settings: dict[str, Any], size: tuple[int, int], layout: str
) -> None:
    data = save(scene(*size), progressive=True) if layout == "progressive" else encode(layout, *size)
    ours = transcode(data, **settings)
    interval = interval_of(ours)
    theirs = optimised_by_jpegtran(data, interval, tmp_path)
    assert interval == int.from_bytes(body_of(theirs, DRI) or b"", "big")
    assert is_same(read(ours.data), read(theirs))
    assert len(ours.data) <= len(theirs) * 1.001 + 16


def test_the_last_byte_is_filled_up_with_ones() -> None:
    """Two symbols of one bit each, 0 and end of block, then what T.81, F.1.2.3 demands."""
    made = assert_lossless(save(np.full((8, 8), 128, np.uint8)), NARROW)
    assert made.data[made.scan_offset :] == b"\x3f\xff\xd9"
