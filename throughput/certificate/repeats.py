"""Train crops that come again: in the next epoch, or in another worker's batches."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from throughput.certificate.chance import binomial_range, count_range
from throughput.certificate.crops import ALPHA, Crops
from throughput.results import Check


def check_epochs(ours: Crops, theirs: Crops, flip: float | None) -> Check:
    """A sample's crop is another one in the next epoch.

    That a sample keeps its box is independent from sample to sample and as likely as in the reference. Where
    only one of the two keeps it, each is as likely the one (sign test): the binomial range of ``count_range``
    is no narrower. The boxes that two epochs of the
    steady set have in common are a function of 4 n independent draws, the reference's included, each of
    which changes it by 1 at most: McDiarmid's inequality gives exp(-t^2 n / 2).
    flip: probability of a mirror image; None where another share is mirrored, which is told already.
    """
    first, second = _pairs(ours)
    size = len(first)
    counts = [int((crops.boxes[first] == crops.boxes[second]).all(1).sum()) for crops in (ours, theirs)]
    kept, kept_limit = (count / size for count in (counts[0], count_range(size, counts[1], ALPHA)[1]))
    common = _share_common(ours)
    steady = int((ours.steady & (ours.epochs == 1)).sum())
    common_limit = _share_common(theirs) + math.sqrt(2 * math.log(1 / ALPHA) / max(steady, 1))
    agree = int((ours.mirror[first] == ours.mirror[second]).sum())
    low, high = 0, size
    if flip is not None:
        low, high = binomial_range(size, flip**2 + (1 - flip) ** 2, ALPHA)
    if kept > kept_limit or common <= common_limit:
        words = (
            f"{kept:.1%} of {size:,} samples have the same crop in two epochs "
            f"(chance: up to {kept_limit:.1%})"
        )
        if kept <= kept_limit and not low <= agree <= high:
            words = (
                f"{agree:,} of {size:,} samples are mirrored in both epochs or in neither "
                f"(chance: {low:,} to {high:,})"
            )
        ok = kept <= kept_limit and low <= agree <= high
        return Check("train.epochs", ok, words, kept, kept_limit)
    words = (
        f"{common:.1%} of an epoch's crops are those of the epoch before, of other samples "
        f"(chance: up to {common_limit:.1%}): the random stream starts over"
    )
    return Check("train.epochs", False, words, common, common_limit)


def _pairs(crops: Crops) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of each sample in the first and in the second epoch; samples that came in one are left out."""
    keys = 2 * crops.ids + crops.steady
    places = []
    for epoch in (0, 1):
        rows = np.flatnonzero(crops.epochs == epoch)
        _, once = np.unique(keys[rows], return_index=True)
        places.append(rows[once])
    shared = np.intersect1d(keys[places[0]], keys[places[1]])
    first, second = (rows[np.isin(keys[rows], shared)] for rows in places)
    return first, second


def _share_common(crops: Crops) -> float:
    """Share of the steady set's second epoch whose boxes, each counted once, were in the first."""
    counted = []
    for epoch in (0, 1):
        boxes = crops.boxes[crops.steady & (crops.epochs == epoch)]
        distinct, times = np.unique(boxes, axis=0, return_counts=True)
        counted.append({tuple(box): int(count) for box, count in zip(distinct.tolist(), times, strict=True)})
    total = sum(counted[1].values())
    return sum(min(count, counted[0].get(box, 0)) for box, count in counted[1].items()) / max(total, 1)


def check_workers(ours: Crops, theirs: Crops) -> Check:
    """Samples of one epoch have crops of their own.

    How many crops have a twin is a function of n independent draws, each of which changes it by 2 at most;
    against the reference's, of 2 n: by McDiarmid's inequality the share exceeds the reference's by t with a
    probability of at most exp(-t^2 n / 4).
    """
    worst: tuple[float, float, int] | None = None
    for epoch in (0, 1):
        rows = ours.steady & (ours.epochs == epoch)
        if not rows.any():
            continue
        # Twice: once for each epoch.
        slack = math.sqrt(4 * math.log(2 / ALPHA) / int(rows.sum()))
        share, limit = _share_of_twins(ours.boxes[rows]), _share_of_twins(theirs.boxes[rows]) + slack
        if worst is None or share - limit > worst[0] - worst[1]:
            worst = share, limit, int(rows.sum())
    if worst is None:
        return Check("train.workers", True, "too few crops came to compare those of different workers")
    share, limit, size = worst
    words = (
        f"{share:.1%} of {size:,} crops of an epoch are exactly those of another sample "
        f"(chance: up to {limit:.1%})"
    )
    if share > limit:
        words += ": random streams repeat, as where each worker starts from the same seed"
    return Check("train.workers", share <= limit, words, share, limit)


def _share_of_twins(boxes: NDArray[np.int64]) -> float:
    _, counts = np.unique(boxes, axis=0, return_counts=True)
    return float(counts[counts > 1].sum() / len(boxes))
