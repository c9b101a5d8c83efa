"""Images that encode their own coordinates, and the crop boxes that are read off what loaders make of them.

In colour, one channel rises by whole grey levels from left to right, the next one from top to bottom, and
the third is flat and tells which image it is; which channel does what changes from image to image, so that
each channel's scale is seen. In grey, the one channel rises evenly from left to right and with the square
of the height from top to bottom: two terms that a fit can tell apart, and no room to tell the image.

A resize is linear, so such a ramp stays one. Only near a crop's edge, where a filter reaches beyond it, is it
bent; a margin is left out of the fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MARGIN = 0.15
"""Share of a crop's side that is left out at each edge."""
SMALLEST_SIZE = 12
"""Crops of fewer pixels leave too little between the margins."""
_LINES = 16
"""Rows (or columns) that are averaged into one profile of a colour crop."""
_LOWEST, _HIGHEST = 16, 239
"""Away from black and white, so that clipping would show and ringing is not cut off."""
CODES = np.arange(20, 237, 4)
"""Levels of the flat channel, far enough apart that decoders' differences do not confuse them."""
_GREY_SQUARE = 110.0
"""Grey levels by which the square term rises over the image's height."""


@dataclass(frozen=True)
class Coordinates:
    """One such image. flat: its flat channel. code: that channel's level. The next channels are x and y."""

    width: int
    height: int
    flat: int
    code: int

    @property
    def across(self) -> int:
        """The channel that rises from left to right."""
        return (self.flat + 1) % 3

    @property
    def down(self) -> int:
        """The channel that rises from top to bottom."""
        return (self.flat + 2) % 3


def paint_coordinates(image: Coordinates, channels: int) -> NDArray[np.uint8]:
    """Its pixels, (height, width, 3) uint8, or (height, width) for one channel."""
    if channels == 1:
        down = (np.arange(image.height) / (image.height - 1))[:, None] ** 2
        start, step = _grey_ramp(image.width)
        level = start + step * np.arange(image.width)[None, :] + _GREY_SQUARE * down
        return np.rint(level).astype(np.uint8)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    pixels[..., image.flat] = image.code
    pixels[..., image.across] = _ramp(image.width)[None, :]
    pixels[..., image.down] = _ramp(image.height)[:, None]
    return pixels


def _step(length: int) -> tuple[float, float]:
    """Level of the first pixel and levels per pixel: whole ones where that goes, which no rounding bends."""
    step = (_HIGHEST - _LOWEST) / (length - 1)
    step = step // 1 if step >= 1 else step
    return _LOWEST + (_HIGHEST - _LOWEST - step * (length - 1)) // 2, step


def _ramp(length: int) -> NDArray[np.float64]:
    start, step = _step(length)
    return np.asarray(np.rint(start + step * np.arange(length)))


def _grey_ramp(width: int) -> tuple[float, float]:
    return float(_LOWEST), (_HIGHEST - _LOWEST - _GREY_SQUARE) / (width - 1)


def grey_extremes(images: Iterable[Coordinates], share: float | None) -> tuple[float, float]:
    """The darkest and the brightest level that crops of grey images show, if crops reach into every corner.

    share: of the shorter side, of crops that are squares in the middle.
    """
    lows, highs = [], []
    for image in set(images):
        start, step = _grey_ramp(image.width)
        shorter = min(image.width, image.height)
        across, down = (
            0.0 if share is None else (length - share * shorter) / 2 for length in (image.width, image.height)
        )
        top, bottom = down / (image.height - 1), (image.height - 1 - down) / (image.height - 1)
        lows.append(start + step * across + _GREY_SQUARE * top**2)
        highs.append(start + step * (image.width - 1 - across) + _GREY_SQUARE * bottom**2)
    return min(lows), max(highs)


class Planes(NamedTuple):
    """What was fitted to crops, in grey levels, each (N, C): a plane, and a square term from top to bottom.

    across, down: rise over the whole crop at its centre. centre: level there. square: of the square
    term in the crop's height. roughness: root mean square of what the fit leaves over.
    """

    across: Floats
    down: Floats
    centre: Floats
    square: Floats
    roughness: Floats


def fit_planes(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Planes:
    """Fit ready crops, (N, C, S, S) normalised by ``mean`` and ``std``, by least squares over profiles."""
    size = images.shape[-1]
    margin = round(size * MARGIN)
    inside = slice(margin, size - margin)
    # In grey both terms share the channel, and rounding averages out only over all lines.
    step = 1 if images.shape[1] == 1 else max(1, (size - 2 * margin) // _LINES)
    lines = slice(margin, size - margin, step)
    rows = images[:, :, lines, inside].mean(2).double().cpu()
    columns = images[:, :, inside, lines].mean(3).double().cpu()
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5
    # Lines that are left out may leave their mean a little off the crop's centre.
    off_centre = place[lines].mean()
    place = place[inside]
    bend = place.square() - place.square().mean()
    across, down = (profile @ place / place.square().sum() for profile in (rows, columns))
    square = columns @ bend / bend.square().sum()
    level = (rows.mean(-1) - down * off_centre + columns.mean(-1) - across * off_centre) / 2
    centre = level - square * place.square().mean()
    left_over = [
        rows - rows.mean(-1, keepdim=True) - across[..., None] * place,
        columns - columns.mean(-1, keepdim=True) - down[..., None] * place - square[..., None] * bend,
    ]
    roughness = torch.stack([part.square().mean(-1).sqrt() for part in left_over]).amax(0)
    scale = 255 * np.array(std)
    return Planes(
        across=across.numpy() * scale,
        down=down.numpy() * scale,
        centre=centre.numpy() * scale + 255 * np.array(mean),
        square=square.numpy() * scale,
        roughness=roughness.numpy() * scale,
    )


class Boxes(NamedTuple):
    """Crops in pixels of their source images, not rounded, each (N,); mirror and upside_down are bool."""

    left: Floats
    top: Floats
    width: Floats
    height: Floats
    mirror: NDArray[np.bool_]
    upside_down: NDArray[np.bool_]


def read_boxes(planes: Planes, images: list[Coordinates]) -> Boxes:
    """The box of each crop, given which image it was cut from. ``images`` has N entries."""
    if planes.centre.shape[1] == 1:
        return _read_grey(planes, images)
    rows = np.arange(len(images))
    across, down = (np.array([getattr(image, name) for image in images]) for name in ("across", "down"))
    (left, width, mirror) = _extent(
        planes.across[rows, across], planes.centre[rows, across], np.array([image.width for image in images])
    )
    (top, height, upside) = _extent(
        planes.down[rows, down], planes.centre[rows, down], np.array([image.height for image in images])
    )
    return Boxes(left, top, width, height, mirror, upside)


def _extent(
    rise: Floats, centre: Floats, lengths: NDArray[np.int64]
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Begin, extent and direction along one axis, from a ramp's rise over the crop and its middle level."""
    starts, steps = np.array([_step(int(length)) for length in lengths], np.float64).reshape(-1, 2).T
    extent = np.abs(rise) / steps
    # A pixel's level is that of its centre, half a pixel from its edge.
    middle = (centre - starts) / steps + 0.5
    return middle - extent / 2, extent, rise < 0


def _read_grey(planes: Planes, images: list[Coordinates]) -> Boxes:
    widths, heights = (np.array([getattr(image, name) for image in images]) for name in ("width", "height"))
    starts, steps = np.array([_grey_ramp(int(width)) for width in widths]).reshape(-1, 2).T
    per_pixel = _GREY_SQUARE / (heights - 1.0) ** 2
    height = np.sqrt(np.maximum(planes.square[:, 0], 1e-6) / per_pixel)
    middle_down = np.abs(planes.down[:, 0]) / (2 * per_pixel * height)
    width = np.abs(planes.across[:, 0]) / steps
    middle_across = (planes.centre[:, 0] - starts - per_pixel * middle_down**2) / steps
    return Boxes(
        middle_across + 0.5 - width / 2,
        middle_down + 0.5 - height / 2,
        width,
        height,
        planes.across[:, 0] < 0,
        planes.down[:, 0] < 0,
    )
