"""Train crops against torchvision's: are they drawn from the same distributions?

Each comparison may be wrong with probability ALPHA, of which ``crops.py`` does the sum.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from throughput.certificate.chance import (
    SMALLEST_KS_SAMPLE,
    binomial_range,
    count_range,
    ks_distance,
    ks_limit,
)
from throughput.certificate.crops import ALPHA, ROOM, Crops
from throughput.certificate.reference import draw_crops
from throughput.certificate.repeats import check_epochs, check_workers
from throughput.contracts import Augmentation, Work
from throughput.results import Check

_SMALL_SHARES = (0.011, 0.0217, 0.05)
_LARGE_SHARES = (0.025, 0.05, 0.11)
"""Where the tails of the area begin: shares of its range from its lower, and from its upper end."""
_ASPECT_SHARE = 0.07
"""Likewise of the aspect's range in its logarithm, at either end."""
_MISREAD = {3: (0.0, 1.0), 1: (1.0, 3.0)}
"""By channels, in pixels: how far off half of all edges may be read at most, and 95 % of them."""


def crop_checks(crops: Crops, work: Work) -> list[Check]:
    """All statistical checks; none where too few crops came, which other checks tell."""
    if len(crops.ids) < 2 * SMALLEST_KS_SAMPLE:
        return []
    # Not the seed itself: a loader may well draw from torch's generator with that.
    seed = int(np.random.SeedSequence([work.seed, 0xC0FFEE]).generate_state(1, np.uint64)[0] >> 1)
    theirs = Crops(
        crops.steady,
        crops.epochs,
        crops.ids,
        crops.sizes,
        draw_crops(crops.sizes, work.augmentation, seed),
        np.random.default_rng(seed).random(len(crops.ids)) < work.augmentation.flip,
    )
    flip = _check_flip(crops, work.augmentation.flip)
    drawn = [
        flip,
        _check_mirrors(crops, work.augmentation.flip if flip.ok else float(crops.mirror.mean())),
        check_epochs(crops, theirs, work.augmentation.flip if flip.ok else None),
    ]
    if work.augmentation.crop in ("centre", "none"):
        return [_check_boxes(crops, theirs, work.channels, slice(0, 4)), *drawn]
    if work.augmentation.crop == "random":
        size = _check_boxes(crops, theirs, work.channels, slice(2, 4))
        return [size, *_check_positions(crops, theirs), *drawn, check_workers(crops, theirs)]
    return [
        _check_area(crops, theirs),
        _check_smallest(crops, theirs, work.augmentation),
        _check_largest(crops, theirs, work.augmentation),
        _check_aspect(crops, theirs),
        _check_extreme_aspects(crops, theirs, work.augmentation),
        *_check_positions(crops, theirs),
        *drawn,
        check_workers(crops, theirs),
    ]


def _check_boxes(ours: Crops, theirs: Crops, channels: int, edges: slice) -> Check:
    """Left, top, width and height, or some of them, of crops that leave them nothing to chance."""
    off = (ours.boxes - theirs.boxes)[:, edges]
    names = ("left edge", "upper edge", "width", "height")[edges]
    most, most_of_nearly_all = _MISREAD[channels]
    middle = np.abs(np.median(off, axis=0))
    spread = np.percentile(np.abs(off), 95, axis=0)
    worst = int((middle + spread).argmax())
    words = (
        f"the crops' {names[worst]} is {np.median(off[:, worst]):+.0f} px off torchvision's as a rule, "
        f"{spread[worst]:.0f} px or less in 95 % of them"
    )
    ok = bool((middle <= most).all() and (spread <= most_of_nearly_all).all())
    return Check("train.boxes", ok, words, float(spread[worst]), most_of_nearly_all)


def _check_area(ours: Crops, theirs: Crops) -> Check:
    return _check_distribution(
        "train.area",
        ours.area,
        theirs.area,
        f"crops keep {ours.area.mean():.1%} of an image on average, torchvision's {theirs.area.mean():.1%}",
    )


def _check_aspect(ours: Crops, theirs: Crops) -> Check:
    spans = [np.exp(np.percentile(crops.log_aspect, (5, 95))) for crops in (ours, theirs)]
    (low, high), (their_low, their_high) = spans
    return _check_distribution(
        "train.aspect",
        ours.log_aspect,
        theirs.log_aspect,
        f"90 % of the crops have an aspect (width / height) of {low:.2f} to {high:.2f}, "
        f"torchvision's {their_low:.2f} to {their_high:.2f}",
    )


def _check_positions(ours: Crops, theirs: Crops) -> list[Check]:
    across, down = ([crops.position(axis) for crops in (ours, theirs)] for axis in (0, 1))
    sides = (("train.left", "left to right", across), ("train.top", "top to bottom", down))
    checks = [
        _check_distribution(
            name,
            mine,
            other,
            f"where there is room, crops lie at {np.nanmean(mine):.2f} of the way from {way} on average, "
            f"torchvision's at {np.nanmean(other):.2f}",
        )
        for name, way, (mine, other) in sides
    ]
    slant = [first - second for first, second in zip(across, down, strict=True)]
    checks.append(
        _check_distribution(
            "train.position",
            slant[0],
            slant[1],
            "how far right and how far down a crop lies have nothing to do with each other",
        )
    )
    return checks


def _check_distribution(
    name: str, ours: NDArray[np.float64], theirs: NDArray[np.float64], words: str
) -> Check:
    """A two-sample test of as many values on either side; NaN is left out."""
    ours, theirs = ours[~np.isnan(ours)], theirs[~np.isnan(theirs)]
    size = min(len(ours), len(theirs))
    if size < SMALLEST_KS_SAMPLE:
        # In honest crops far more have room to move.
        return Check(name, False, f"only {len(ours)} crops are smaller than their image by {ROOM} px or more")
    distance, limit = ks_distance(ours[:size], theirs[:size]), ks_limit(size, ALPHA)
    words += f"; over {size:,} crops the distributions differ by {distance:.3f} (chance: up to {limit:.3f})"
    return Check(name, distance <= limit, words, distance, limit)


def _check_smallest(ours: Crops, theirs: Crops, augmentation: Augmentation) -> Check:
    low, high = augmentation.area
    edges = [low + share * (high - low) for share in _SMALL_SHARES]
    return _check_tails(
        "train.smallest_areas",
        f"the smallest crop keeps {ours.area.min():.1%} of the image",
        [
            (f"keep less than {edge:.1%}", int((ours.area < edge).sum()), int((theirs.area < edge).sum()))
            for edge in edges
        ],
        len(ours.ids),
    )


def _check_largest(ours: Crops, theirs: Crops, augmentation: Augmentation) -> Check:
    low, high = augmentation.area
    edges = [high - share * (high - low) for share in _LARGE_SHARES]
    return _check_tails(
        "train.largest_areas",
        f"the largest crop keeps {ours.area.max():.1%} of the image",
        [
            (f"keep more than {edge:.1%}", int((ours.area > edge).sum()), int((theirs.area > edge).sum()))
            for edge in edges
        ],
        len(ours.ids),
    )


def _check_extreme_aspects(ours: Crops, theirs: Crops, augmentation: Augmentation) -> Check:
    low, high = (math.log(bound) for bound in augmentation.aspect)
    narrow, wide = low + _ASPECT_SHARE * (high - low), high - _ASPECT_SHARE * (high - low)
    mine, other = ours.log_aspect, theirs.log_aspect
    counts = [
        (
            f"are narrower than {math.exp(narrow):.2f}",
            int((mine < narrow).sum()),
            int((other < narrow).sum()),
        ),
        (f"are wider than {math.exp(wide):.2f}", int((mine > wide).sum()), int((other > wide).sum())),
    ]
    first = f"aspects lie between {math.exp(mine.min()):.2f} and {math.exp(mine.max()):.2f}"
    return _check_tails("train.extreme_aspects", first, counts, len(ours.ids))


def _check_tails(name: str, words: str, tails: list[tuple[str, int, int]], size: int) -> Check:
    """Counts in tails, ours and torchvision's of ``size`` crops each; the most surprising is told."""
    told: tuple[tuple[bool, int], Check] | None = None
    for what, ours, theirs in tails:
        low, high = count_range(size, theirs, ALPHA)
        ok = low <= ours <= high
        limit = low if ours < theirs else high
        check = Check(
            name,
            ok,
            f"{words}; of {size:,} crops {ours:,} {what}, torchvision's RandomResizedCrop {theirs:,} "
            f"(chance: {low:,} to {high:,})",
            float(ours),
            float(limit),
        )
        # A failed one before others, then the largest difference.
        weight = (not ok, abs(ours - theirs))
        if told is None or weight > told[0]:
            told = (weight, check)
    assert told is not None
    return told[1]


def _check_flip(crops: Crops, share: float) -> Check:
    mirrored, size = int(crops.mirror.sum()), len(crops.mirror)
    low, high = binomial_range(size, share, ALPHA)
    words = (
        f"{mirrored:,} of {size:,} crops are mirrored ({mirrored / size:.1%}; chance: {low:,} to {high:,})"
    )
    return Check(
        "train.flip",
        low <= mirrored <= high,
        words,
        mirrored / size,
        (low if mirrored < share * size else high) / size,
    )


def _check_mirrors(crops: Crops, share: float) -> Check:
    """Each crop has a coin of its own: neighbours, in pairs that share none, agree as often as chance says.

    Crops are in the order in which they came, so one coin for a batch, or sides that take turns, show.
    share: of mirrored crops; the one that came where it is not the one that was asked for, which is told.
    """
    pairs = len(crops.mirror) // 2
    first, second = crops.mirror[: 2 * pairs].reshape(pairs, 2).T
    agree = int((first == second).sum())
    low, high = binomial_range(pairs, share**2 + (1 - share) ** 2, ALPHA)
    words = (
        f"of {pairs:,} pairs of crops that came one after the other {agree:,} are mirrored both or neither "
        f"(chance: {low:,} to {high:,})"
    )
    limit = high if agree > high else low
    return Check("train.mirrors", low <= agree <= high, words, float(agree), float(limit))
