"""From what was fitted to train crops: order and scale of the channels, and whose pixels they are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from throughput.canonical import SQUARE_SHARE
from throughput.certificate.coordinates import Coordinates, Planes, grey_extremes
from throughput.certificate.values import (
    check_moment,
    check_order_of_channels,
    check_range,
    explain_scale,
)
from throughput.contracts import Work
from throughput.results import Check

Floats = NDArray[np.float64]

FLAT_LIMIT = 2.0
"""In grey levels, of a flat channel against its code: half the distance between two codes."""
ROUGH_LIMIT = 2.5
"""In grey levels, of what a plane leaves over of a crop; JPEG and rounding leave 0.6."""


@dataclass(frozen=True)
class Calibration:
    """How delivered values follow from true ones, channel by channel.

    order: the true channel that each delivered one holds. gain, offset: (C,) by true channel; a true level p
    comes as gain * p + offset. own: (N,) bool, crops that hold their own image's pixels.
    checks: what was found. usable: crops can be read with it.
    """

    order: tuple[int, ...]
    gain: Floats
    offset: Floats
    own: NDArray[np.bool_]
    checks: tuple[Check, ...]
    usable: bool

    def correct(self, planes: Planes) -> Planes:
        """The planes of the true channels in true levels."""
        back = np.argsort(self.order)
        return Planes(
            across=planes.across[:, back] / self.gain,
            down=planes.down[:, back] / self.gain,
            centre=(planes.centre[:, back] - self.offset) / self.gain,
            square=planes.square[:, back] / self.gain,
            roughness=planes.roughness[:, back] / self.gain,
        )

    def correct_levels(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Likewise of delivered pixels, (S, S, C)."""
        ordered = levels[..., np.argsort(self.order)]
        return np.asarray((ordered - self.offset) / self.gain, np.float32)


def calibrate(planes: Planes, images: list[Coordinates], work: Work) -> Calibration:
    """Judge channels, scale and content by the flat channels of all crops, one for each of ``images``."""
    if work.channels == 1:
        return _calibrate_grey(planes, images, work)
    flat, across, down = (
        np.array([getattr(image, name) for image in images]) for name in ("flat", "across", "down")
    )
    codes = np.array([image.code for image in images], np.float64)
    rise = np.abs(planes.across) + np.abs(planes.down)
    rows = np.arange(len(images))
    usual = np.median(rise.max(1))
    spread = np.median(rise.max(1) - rise.min(1))
    identity = (0, 1, 2)
    nothing = np.zeros(len(images), np.bool_)
    if spread < 0.02 * usual:
        grey = check_order_of_channels("train.channels", identity, grey=True)
        return Calibration(identity, np.ones(3), np.zeros(3), nothing, (grey,), usable=False)
    # For each order of channels: how many crops are flat, and rise across and down, where they should.
    seen_flat = rise.argmin(1)
    seen_across = np.abs(planes.across).argmax(1)
    seen_down = np.abs(planes.down).argmax(1)
    fits = {}
    for order in permutations(range(3)):
        back = np.argsort(order)
        fits[order] = (seen_flat == back[flat]) & (
            ((seen_across == back[across]) & (seen_down == back[down]))
            # A turned image changes these two about.
            | ((seen_across == back[down]) & (seen_down == back[across]))
        )
    straight = {
        order: float((fit & (seen_across == np.argsort(order)[across])).mean()) for order, fit in fits.items()
    }
    order = max(straight, key=lambda one: (straight[one], one == identity))
    if fits[order].mean() < 0.5:
        return _strangers(len(images), len(images))
    back = np.argsort(order)
    levels = planes.centre[rows, back[flat]]
    gain, offset = np.ones(3), np.zeros(3)
    for channel in range(3):
        chosen = fits[order] & (flat == channel)
        gain[channel], offset[channel] = _robust_line(codes[chosen], levels[chosen])
    level_off = np.abs((levels - offset[flat]) / gain[flat] - codes)
    own = fits[order] & (level_off <= FLAT_LIMIT)
    if own.mean() < 0.5:
        return _strangers(int((~own).sum()), len(images))
    smooth = planes.roughness.max(1) <= ROUGH_LIMIT * gain.max()
    checks = [_content(own, smooth)]
    checks.append(check_order_of_channels("train.channels", order, grey=False))
    # The coordinate images span these levels in every channel.
    lowest, highest = float(codes.min()), float(codes.max())
    ends = [gain * lowest + offset, gain * highest + offset]
    channel = int(np.argmax(np.maximum(np.abs(ends[0] - lowest), np.abs(ends[1] - highest))))
    how = explain_scale(gain, offset, work.mean, work.std)
    checks.append(
        check_range("train.range", (float(ends[0][channel]), float(ends[1][channel])), (lowest, highest), how)
    )
    middle = codes.mean()
    checks.append(check_moment("train.mean", "mean", gain * middle + offset, np.full(3, middle)))
    checks.append(
        check_moment("train.std", "standard deviation", gain * codes.std(), np.full(3, codes.std()))
    )
    return Calibration(order, gain, offset, own & smooth, tuple(checks), usable=True)


def _robust_line(codes: Floats, levels: Floats) -> tuple[float, float]:
    """Gain and offset that most crops agree on: Theil and Sen's median of slopes, then least squares."""
    if len(codes) < 2 or np.ptp(codes) == 0:
        return 1.0, 0.0
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(codes), size=(2, 4000))
    apart = codes[first] != codes[second]
    first, second = first[apart], second[apart]
    gain = float(np.median((levels[second] - levels[first]) / (codes[second] - codes[first])))
    offset = float(np.median(levels - gain * codes))
    close = np.abs(levels - gain * codes - offset) <= FLAT_LIMIT * max(abs(gain), 1e-3)
    if close.sum() >= 10 and np.ptp(codes[close]) > 0:
        slope, intercept = np.polyfit(codes[close], levels[close], 1)
        gain, offset = float(slope), float(intercept)
    return (gain if abs(gain) > 1e-6 else 1e-6), offset


def _content(own: NDArray[np.bool_], smooth: NDArray[np.bool_]) -> Check:
    wrong, rough = int((~own).sum()), int((own & ~smooth).sum())
    words = "each id comes with its own pixels"
    if wrong:
        words = f"{wrong:,} of {len(own):,} crops do not hold the pixels of the image that their id names"
    elif rough:
        words = f"{rough:,} of {len(own):,} crops hold something else besides a crop of their image"
    return Check("train.content", not (wrong or rough), words, float(wrong + rough), 0.0)


def _strangers(wrong: int, count: int) -> Calibration:
    words = f"{wrong:,} of {count:,} crops do not hold the pixels of the image that their id names"
    check = Check("train.content", False, words, float(wrong), 0.0)
    none = np.zeros(count, np.bool_)
    return Calibration((0, 1, 2), np.ones(3), np.zeros(3), none, (check,), usable=False)


def _calibrate_grey(planes: Planes, images: list[Coordinates], work: Work) -> Calibration:
    """In grey there is no flat channel: only the span of all crops' levels is known."""
    reach = (np.abs(planes.across) + np.abs(planes.down))[:, 0] / 2
    corner = planes.centre[:, 0] + planes.square[:, 0] / 4
    low, high = float((corner - reach).min()), float((corner + reach).max())
    extremes = grey_extremes(images, SQUARE_SHARE if work.augmentation.crop == "centre" else None)
    gain = (high - low) / (extremes[1] - extremes[0])
    offset = low - gain * extremes[0]
    how = explain_scale(np.array([gain]), np.array([offset]), work.mean, work.std)
    check = check_range("train.range", (low, high), extremes, how)
    own = planes.roughness[:, 0] <= ROUGH_LIMIT
    checks = (check, _content(np.ones_like(own), own)) if check.ok else (check,)
    return Calibration((0,), np.ones(1), np.zeros(1), own, checks, usable=check.ok)
