"""Scale and order of the channels: what was done to the values, told in words."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from throughput.results import Check

Floats = NDArray[np.float64]

MEAN_LIMIT = 0.5
"""In grey levels, of a channel's mean and of its standard deviation against the reference's."""
EXTREMES_LIMIT = 12.0
"""In grey levels, of the darkest and the brightest values; ringing at edges is decoders' own."""
COLOURS = ("red", "green", "blue")


def colour(channel: int, channels: int) -> str:
    """A channel's name."""
    return COLOURS[channel] if channels == 3 else "grey"


def check_range(name: str, extremes: tuple[float, float], wanted: tuple[float, float], how: str) -> Check:
    """The darkest and the brightest values, in grey levels, against the wanted ones."""
    off = max(abs(got - want) for got, want in zip(extremes, wanted, strict=True))
    words = (
        f"values span {extremes[0]:.0f} to {extremes[1]:.0f} grey levels, "
        f"the reference's {wanted[0]:.0f} to {wanted[1]:.0f}"
    )
    if not off <= EXTREMES_LIMIT and how:
        words += f": {how}"
    return Check(name, off <= EXTREMES_LIMIT, words, off, EXTREMES_LIMIT)


def check_moment(name: str, what: str, ours: Floats, theirs: Floats) -> Check:
    """Channel means or standard deviations against the reference's, in grey levels."""
    off = np.abs(ours - theirs)
    worst = int(off.argmax())
    words = (
        f"the {what} of {colour(worst, len(off))} is {ours[worst]:.2f} grey levels, "
        f"the reference's {theirs[worst]:.2f}"
    )
    return Check(name, bool(off[worst] <= MEAN_LIMIT), words, float(off[worst]), MEAN_LIMIT)


def explain_scale(gain: Floats, offset: Floats, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """What turns true grey levels p into ``gain * p + offset``, where both are read as normalised values.

    A ready value r is read as the level 255 (r std + mean); each known mistake makes some r of p.
    """
    m, s = np.array(mean), np.array(std)
    one = np.ones_like(m)
    mistakes = {
        "they look like 0..255 pixels minus 0..1 means over 0..1 deviations: divide by 255 first": (
            255 * one,
            0 * m,
        ),
        "they are 0..255 pixels, not normalised": (255 * s, 255 * m),
        "they are 0..1, not normalised": (s, 255 * m),
        "they are -1..1, not normalised by the work's mean and std": (2 * s, 255 * (m - s)),
        "they are normalised twice": (1 / s, 255 * (m - m / s)),
        "the mean is taken off and the deviation is not divided by": (s, 255 * m * (1 - s)),
        "they are divided by the deviation and the mean is not taken off": (one, 255 * m),
        "they are divided by 255 twice": (one / 255, 255 * m * (1 - 1 / 255)),
    }
    for words, (wanted_gain, wanted_offset) in mistakes.items():
        levels = np.array([16.0, 240.0])[:, None]
        difference = np.abs((gain - wanted_gain) * levels + offset - wanted_offset)
        # Relative to the contrast that the mistake leaves.
        if (difference <= 0.03 * 224 * wanted_gain + 1e-6).all():
            return words
    return ""


def best_order(likeness: Floats) -> tuple[int, ...]:
    """For each delivered channel the true one that it is most like, each once; ``likeness`` is (C, C)."""

    def score(order: tuple[int, ...]) -> float:
        # The right order, unless another is better by more than decoders' noise in nearly grey images.
        right = 1e-3 if order == tuple(sorted(order)) else 0.0
        return float(sum(likeness[place, true] for place, true in enumerate(order))) + right

    return max(permutations(range(len(likeness))), key=score)


def check_order_of_channels(name: str, order: tuple[int, ...], *, grey: bool) -> Check:
    """Whether channels come as red, green, blue."""
    right = order == tuple(range(len(order)))
    came = ", ".join(colour(true, len(order)) for true in order)
    words = f"channels come as {came}"
    if grey:
        words = "all channels are the same: the images come in grey in place of colour"
    elif not right:
        words += " in place of red, green, blue"
    return Check(name, right and not grey, words)
