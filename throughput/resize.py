"""Antialiased bilinear resizing of a part of an image straight into its place in a batch, without the GIL.

The filter is Pillow's (``Image.resize`` with BILINEAR, in ``Resample.c``), which torchvision's antialiased
resize follows: a triangle as wide as the reduction, cut off at the image's edge and made to sum to one.
Rounding happens once, at the end; Pillow also rounds between rows and columns. The two agree to 1/255.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.kernel import kernel
from throughput.simd import blended_pixel


class Axis(NamedTuple):
    """What becomes of one axis, in pixels of the array that is resized.

    start: where the first output pixel begins. scale: source pixels for an output pixel.
    low, high: the source pixels that may be looked at, low <= place < high.
    """

    start: float
    scale: float
    low: int
    high: int


def resize_into(
    pixels: NDArray[np.uint8], rows: Axis, columns: Axis, mirror: bool, out: NDArray[np.uint8]
) -> None:
    """Resize ``pixels`` (H, W, 4 or 1) uint8 into ``out`` (S, S, 3 or 1) uint8; a fourth channel goes."""
    resize = _resize_colour if pixels.shape[2] == 4 else _resize_grey
    resize(
        pixels,
        float(rows.start), rows.scale, rows.low, rows.high,
        float(columns.start), columns.scale, columns.low, columns.high,
        mirror,
        out,
    )  # fmt: skip


def grey_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma (H, W, 1) of RGBX pixels (H, W, 4), uint8, by Pillow's ITU-R 601-2 formula in fixed point."""
    grey = np.empty((*pixels.shape[:2], 1), np.uint8)
    _luma(pixels, grey)
    return grey


@kernel
def _luma(pixels, grey):
    for row in range(pixels.shape[0]):
        for column in range(pixels.shape[1]):
            red, green, blue, _ = pixels[row, column]
            # ``L24`` in Pillow's Convert.c.
            grey[row, column, 0] = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16


@kernel
def _weights(start, scale, low, high, count):
    """For each of ``count`` output pixels the first source pixel and the weights of equally many from there.

    (count,) uint64 and (count, taps) float32. Unsigned, because numba wraps negative places around.
    """
    reach = max(scale, 1.0)
    begins = np.empty(count, np.int64)
    ends = np.empty(count, np.int64)
    taps = 1
    for place in range(count):
        centre = start + (place + 0.5) * scale
        # int() goes towards zero: below it, low wins anyway.
        begins[place] = max(int(centre - reach + 0.5), low)
        ends[place] = min(int(centre + reach + 0.5), high)
        taps = max(taps, ends[place] - begins[place])
    first = np.empty(count, np.uint64)
    weights = np.zeros((count, taps), np.float32)
    for place in range(count):
        centre = start + (place + 0.5) * scale
        # The same number for all, so that loops over them are alike; those too many weigh nothing.
        from_here = max(min(begins[place], high - taps), low)
        total = 0.0
        for pixel in range(begins[place], ends[place]):
            weight = max(0.0, 1.0 - abs((pixel - centre + 0.5) / reach))
            weights[place, pixel - from_here] = weight
            total += weight
        if total == 0.0:  # beyond the edge: what lies there looks like the edge
            nearest = 0 if centre < low else taps - 1
            weights[place, nearest] = 1.0
            total = 1.0
        for tap in range(taps):
            weights[place, tap] /= total
        first[place] = from_here
    return first, weights


@kernel
def _resize_colour(
    pixels,
    row_start, row_scale, row_low, row_high,
    column_start, column_scale, column_low, column_high,
    mirror,
    out,
):  # fmt: skip
    size = out.shape[0]
    top, row_weights = _weights(row_start, row_scale, row_low, row_high, size)
    left, weights = _weights(column_start, column_scale, column_low, column_high, size)
    taps = weights.shape[1]
    factors = weights.reshape(size * taps)
    first = left[0]
    places = np.uint64(4) * (left - first)
    line = np.empty(4 * (np.int64(left[size - 1] - first) + taps), np.float32)
    for row in range(size):
        _blend(pixels, np.int64(top[row]), row_weights[row], 4 * np.int64(first), line)
        target = out[row].reshape(3 * size)
        if taps == 2:
            _columns_of_2(line, places, factors, mirror, target)
        elif taps == 3:
            _columns_of_3(line, places, factors, mirror, target)
        elif taps == 4:
            _columns_of_4(line, places, factors, mirror, target)
        elif taps == 5:
            _columns_of_5(line, places, factors, mirror, target)
        else:
            _columns(line, places, weights, mirror, target)


def _columns_of(taps: int) -> Callable[..., Any]:
    """A kernel that resizes a line with so many weights for each output pixel."""

    @kernel
    def columns(line, places, factors, mirror, target):
        for column in range(len(places)):
            pixel = blended_pixel(line, places[column], factors, taps * column, taps)
            place = np.uint64(3 * (len(places) - 1 - column if mirror else column))
            target[place] = np.uint8(pixel & 0xFF)
            target[place + np.uint64(1)] = np.uint8((pixel >> 8) & 0xFF)
            target[place + np.uint64(2)] = np.uint8((pixel >> 16) & 0xFF)

    return columns


# A crop of up to twice the target has 5 weights at most: these are nearly all that there are.
_columns_of_2, _columns_of_3, _columns_of_4, _columns_of_5 = (_columns_of(taps) for taps in range(2, 6))


@kernel
def _columns(line, places, weights, mirror, target):
    """As ``_columns_of`` makes them, for any number of weights, (S, taps)."""
    for column in range(len(places)):
        place = places[column]
        red, green, blue = np.float32(0.5), np.float32(0.5), np.float32(0.5)
        for tap in range(weights.shape[1]):
            weight = weights[column, tap]
            red += weight * line[place]
            green += weight * line[place + np.uint64(1)]
            blue += weight * line[place + np.uint64(2)]
            place += np.uint64(4)
        at = 3 * (len(places) - 1 - column if mirror else column)
        target[at] = np.uint8(red)
        target[at + 1] = np.uint8(green)
        target[at + 2] = np.uint8(blue)


@kernel
def _resize_grey(
    pixels,
    row_start, row_scale, row_low, row_high,
    column_start, column_scale, column_low, column_high,
    mirror,
    out,
):  # fmt: skip
    size = out.shape[0]
    top, row_weights = _weights(row_start, row_scale, row_low, row_high, size)
    left, weights = _weights(column_start, column_scale, column_low, column_high, size)
    first = left[0]
    line = np.empty(np.int64(left[size - 1] - first) + weights.shape[1], np.float32)
    for row in range(size):
        _blend(pixels, np.int64(top[row]), row_weights[row], np.int64(first), line)
        for column in range(size):
            place = left[column] - first
            grey = np.float32(0.5)
            for tap in range(weights.shape[1]):
                grey += weights[column, tap] * line[place]
                place += np.uint64(1)
            out[row, size - 1 - column if mirror else column, 0] = np.uint8(grey)


@kernel
def _blend(pixels, top, weights, first, line):
    """The weighted sum of some rows into ``line``, channels side by side, from value ``first`` on."""
    flat = pixels.reshape(pixels.shape[0], pixels.shape[1] * pixels.shape[2])
    end = first + len(line)
    rows = len(weights)
    while rows > 1 and weights[rows - 1] == 0:
        rows -= 1
    one, of_one = flat[top, first:end], weights[0]
    if rows == 1:
        for place in range(len(line)):
            line[place] = of_one * np.float32(one[place])
        return
    # Up to five rows at once, nearly all that there are: the line is written once and not read again.
    two, of_two = flat[top + 1, first:end], weights[1]
    if rows == 2:
        for place in range(len(line)):
            line[place] = of_one * np.float32(one[place]) + of_two * np.float32(two[place])
        return
    three, of_three = flat[top + 2, first:end], weights[2]
    if rows == 3:
        for place in range(len(line)):
            line[place] = (
                of_one * np.float32(one[place])
                + of_two * np.float32(two[place])
                + of_three * np.float32(three[place])
            )
        return
    four, of_four = flat[top + 3, first:end], weights[3]
    if rows == 4:
        for place in range(len(line)):
            line[place] = (
                of_one * np.float32(one[place])
                + of_two * np.float32(two[place])
                + of_three * np.float32(three[place])
                + of_four * np.float32(four[place])
            )
        return
    five, of_five = flat[top + 4, first:end], weights[4]
    for place in range(len(line)):
        line[place] = (
            of_one * np.float32(one[place])
            + of_two * np.float32(two[place])
            + of_three * np.float32(three[place])
            + of_four * np.float32(four[place])
            + of_five * np.float32(five[place])
        )
    for tap in range(5, rows):
        one, of_one = flat[top + tap, first:end], weights[tap]
        for place in range(len(line)):
            line[place] += of_one * np.float32(one[place])
