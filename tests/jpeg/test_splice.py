"""Regions cut out of JPEGs: two decoders see the pixels of the whole image.

tests/jpeg/test_splice_damage.py has the files that are damaged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import simplejpeg
from cutting import LAYOUTS, assert_shows, boxes_in, by_pillow, cut_out, decoded, encoded, kept, picture
from oracle import resampled

from throughput.jpeg.splice import FOUND, NOT_ADDRESSABLE, SPLICED, WHOLE, Region
from throughput.jpeg.transcode import transcode

FILES = Path(__file__).parent / "files"
SIZES = ((131, 189), (301, 93), (50, 241), (40, 33), (330, 600))
WHOLE_ROWS = {"growth": 1.0, "interval_pixels": 1 << 16}
"""How intervals become as wide as the image."""


@pytest.mark.parametrize("settings", [{"growth": 1.0}, {"growth": 0.0}, WHOLE_ROWS], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_box_has_the_pixels_of_the_whole_image(
    layout: str, size: tuple[int, int], settings: dict[str, Any]
) -> None:
    original = encoded(*size, layout)
    made = transcode(original, **settings)
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
        assert (narrowest == size[1]) == (settings == WHOLE_ROWS), "narrow intervals are cut across as well"


@pytest.mark.parametrize("layout", ["4:2:2", "4:2:0"])
@pytest.mark.parametrize(
    ("settings", "cuts"),
    [
        ({"restart_marker_rows": 1}, True),
        ({"restart_marker_rows": 2}, True),
        ({"restart_marker_blocks": 1}, True),
        ({"restart_marker_blocks": 3}, True),
        ({"restart_marker_blocks": 12}, True),
        ({"restart_marker_blocks": 4}, True),
        ({"restart_marker_blocks": 5}, False),
        ({"restart_marker_blocks": 48}, True),
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


@pytest.mark.parametrize(
    ("layout", "factors"),
    [
        ("444", (0x21, 0x21, 0x21)),
        ("444", (0x12, 0x12, 0x12)),
        ("422", (0x22, 0x12, 0x12)),
        ("440", (0x22, 0x21, 0x21)),
    ],
    ids=str,
)
def test_sampling_factors_that_say_a_usual_layout_unusually(
    layout: str, factors: tuple[int, int, int]
) -> None:
    data = resampled(encoded(128, 192, layout), factors)
    made = transcode(data, growth=1.0)
    assert len(made.interval_bytes) > 8
    whole = decoded(data)
    statuses = set()
    for box in boxes_in(128, 192):
        region, small = cut_out(made.data, kept(made), box)
        statuses.add(region.status)
        if region.status == SPLICED:
            assert_shows(made.data, region, small, box, whole)
    assert statuses == {SPLICED, WHOLE}


@pytest.mark.parametrize(
    ("layout", "factors"), [("422", (0x41, 0x21, 0x21)), ("440", (0x14, 0x12, 0x12))], ids=str
)
def test_sampling_factors_that_the_decoder_refuses_are_left_to_others(
    layout: str, factors: tuple[int, int, int]
) -> None:
    made = transcode(resampled(encoded(128, 192, layout), factors), growth=1.0)
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(made.data)
    assert cut_out(made.data, kept(made), (0, 0, 4, 4))[0].status == NOT_ADDRESSABLE


@pytest.mark.parametrize("name", ["mixed_factors", "thirds", "coarse_luma"])
def test_layouts_that_are_decoded_whole(name: str) -> None:
    made = transcode((FILES / f"{name}.jpg").read_bytes(), growth=1.0)
    assert cut_out(made.data, kept(made), (0, 0, 4, 4))[0].status == NOT_ADDRESSABLE
