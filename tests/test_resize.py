"""Resizing into a batch against Pillow's crop and resize, to one grey level."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from throughput.canonical import centre_crop
from throughput.resize import Axis, grey_of, resize_into

Pixels = NDArray[np.uint8]
CASES = 150


def pixels_of(height: int, width: int, kind: int, rng: np.random.Generator) -> Pixels:
    """White noise, black and white noise, or a slope; (height, width, 3)."""
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == 1:
        return np.uint8(255) * rng.integers(0, 2, (height, width, 3), dtype=np.uint8)
    down, across = np.mgrid[:height, :width]
    slopes = [255 * down / height, 255 * across / width, 255 * (down + across) / (height + width)]
    return np.stack(slopes, axis=2).astype(np.uint8)


def resized(
    pixels: Pixels, rows: Axis, columns: Axis, size: int, grey: bool = False, mirror: bool = False
) -> Pixels:
    """(S, S, 3 or 1). The fourth channel holds noise, which must not be seen."""
    out = np.full((size, size, 1 if grey else 3), 99, np.uint8)
    if grey:
        resize_into(np.ascontiguousarray(pixels[:, :, :1]), rows, columns, mirror, out)
    else:
        noise = np.random.default_rng(0).integers(0, 256, (*pixels.shape[:2], 1), dtype=np.uint8)
        resize_into(np.concatenate([pixels, noise], axis=2), rows, columns, mirror, out)
    return out


def expected(pixels: Pixels, box: tuple[int, int, int, int], size: int, grey: bool, mirror: bool) -> Pixels:
    top, left, height, width = box
    image = Image.fromarray(pixels[:, :, 0] if grey else pixels).crop((left, top, left + width, top + height))
    found = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).reshape(size, size, -1)
    return found[:, ::-1] if mirror else found


def difference(one: Pixels, other: Pixels) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("mirror", [False, True], ids=["as it is", "mirrored"])
def test_random_crops_are_pillows(mirror: bool, grey: bool) -> None:
    rng = np.random.default_rng([mirror, grey])
    larger = smaller = 0
    for case in range(CASES):
        height, width = (int(side) for side in rng.integers(1, 401, 2))
        # Small ones as often as large ones: there the filter is cut off at both sides.
        tall, wide = (int(np.exp(rng.uniform(0, np.log(side))).round()) for side in (height, width))
        top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
        size = int(rng.integers(16, 225))
        larger, smaller = larger + (tall < size), smaller + (tall > size)
        pixels = pixels_of(height, width, case % 3, rng)
        rows, columns = Axis(top, tall / size, top, top + tall), Axis(left, wide / size, left, left + wide)
        ours = resized(pixels, rows, columns, size, grey, mirror)
        wanted = expected(pixels, (top, left, tall, wide), size, grey, mirror)
        assert difference(ours, wanted) <= 1, (height, width, top, left, tall, wide, size)
    assert larger > 10
    assert smaller > 10


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("size", [16, 48, 224])
@pytest.mark.parametrize(
    ("tall", "wide"), [(1, 1), (1, 400), (400, 1), (400, 400), (2, 3), (33, 400), (224, 224), (448, 112)]
)
def test_extreme_shapes_are_pillows(tall: int, wide: int, size: int, grey: bool) -> None:
    pixels = pixels_of(tall, wide, 0, np.random.default_rng([tall, wide]))
    ours = resized(pixels, Axis(0, tall / size, 0, tall), Axis(0, wide / size, 0, wide), size, grey)
    assert difference(ours, expected(pixels, (0, 0, tall, wide), size, grey, mirror=False)) <= 1


def test_the_same_size_is_left_as_it_is() -> None:
    pixels = pixels_of(60, 60, 0, np.random.default_rng(1))
    axis = Axis(5, 1.0, 5, 53)
    assert np.array_equal(resized(pixels, axis, axis, 48), pixels[5:53, 5:53])


@pytest.mark.parametrize("value", [0, 1, 127, 128, 254, 255])
def test_a_flat_image_stays_flat(value: int) -> None:
    pixels = np.full((301, 173, 3), value, np.uint8)
    for size in (16, 100, 224):
        ours = resized(pixels, Axis(0, 301 / size, 0, 301), Axis(3, 150 / size, 3, 153), size)
        assert (ours == value).all()


@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300), (77, 50), (40, 333), (224, 224)])
@pytest.mark.parametrize("size", [16, 96, 224])
def test_a_centre_with_its_surroundings_is_pillows(height: int, width: int, size: int) -> None:
    """Pixels outside what is kept take part here: the whole is resized, and its centre kept."""
    pixels = pixels_of(height, width, 0, np.random.default_rng(size))
    crop = centre_crop(height, width, size)
    down, across = height / crop.height, width / crop.width
    rows, columns = Axis(crop.top * down, down, 0, height), Axis(crop.left * across, across, 0, width)
    whole = Image.fromarray(pixels).resize((crop.width, crop.height), Image.Resampling.BILINEAR)
    wanted = np.asarray(whole)[crop.top : crop.top + size, crop.left : crop.left + size]
    assert difference(resized(pixels, rows, columns, size), wanted) <= 1


def test_only_the_places_that_may_be_looked_at_matter() -> None:
    rng = np.random.default_rng(3)
    pixels = pixels_of(90, 120, 0, rng)
    others = pixels_of(90, 120, 0, rng)
    others[20:70, 31:101] = pixels[20:70, 31:101]
    rows, columns = Axis(20, 50 / 32, 20, 70), Axis(31, 70 / 32, 31, 101)
    assert np.array_equal(resized(pixels, rows, columns, 32), resized(others, rows, columns, 32))


def test_a_place_within_a_part_of_the_image_is_the_same_place() -> None:
    pixels = pixels_of(90, 120, 0, np.random.default_rng(4))
    part = np.ascontiguousarray(pixels[16:80, 24:104])
    whole = resized(pixels, Axis(20, 50 / 32, 20, 70), Axis(31, 70 / 32, 31, 101), 32)
    assert np.array_equal(whole, resized(part, Axis(4, 50 / 32, 4, 54), Axis(7, 70 / 32, 7, 77), 32))


def test_luma_is_pillows_exactly() -> None:
    rng = np.random.default_rng(5)
    pixels = pixels_of(300, 400, 0, rng)
    pixels[:2] = np.array([0, 255], np.uint8)[:, None, None]
    pixels[2, :256] = np.arange(256, dtype=np.uint8)[:, None]
    ours = grey_of(np.concatenate([pixels, pixels[:, ::-1, :1]], axis=2))
    assert ours.shape == (300, 400, 1)
    assert ours.dtype == np.uint8
    assert np.array_equal(ours[:, :, 0], np.asarray(Image.fromarray(pixels).convert("L")))


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("start", [-40, 70])
def test_beyond_the_edge_all_looks_like_the_edge(start: int, grey: bool) -> None:
    pixels = pixels_of(20, 60, 2, np.random.default_rng(0))
    ours = resized(pixels, Axis(0, 1.0, 0, 16), Axis(start, 1.0, 5, 55), 16, grey)
    edge = pixels[:16, 5 if start < 0 else 54, : 1 if grey else 3]
    assert np.array_equal(ours, np.broadcast_to(edge[:, None], ours.shape))
