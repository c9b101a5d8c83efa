"""The canonical work in numbers: which order, which crop, which size. No pixels are touched here.

Every draw is a function of (seed, epoch, id) alone, so a sample gets the same crop in every loader,
with any number of workers, in any batch: loaders can be compared pixel by pixel and runs can be resumed.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Augmentation, Work
from throughput.resuming import NOTHING, Delivered

_TRIES = 10
"""Attempts at a crop that fits, as in torchvision's RandomResizedCrop."""
SQUARE_SHARE = 7 / 8
"""Of the shorter side, in ``random`` and ``centre`` crops: what val keeps of it."""
_GAMMA = np.uint64(0x9E3779B97F4A7C15)


class Boxes(NamedTuple):
    """Crops in pixels of the source image, each (N,) int64; ``mirror`` is (N,) bool."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    mirror: NDArray[np.bool_]


class CentreCrop(NamedTuple):
    """Resize the whole image to (height, width), then take image_size pixels from (top, left)."""

    height: int
    width: int
    top: int
    left: int


def epoch_ids(work: Work, epoch: int, delivered: Delivered = NOTHING) -> NDArray[np.int64]:
    """This rank's ids of an epoch in order, (M,) int64: shuffled for ``train``, ascending for ``val``.

    Ranks take every world_size-th id of one common order: they are disjoint and cover the split. What was
    delivered of this epoch is left out.
    """
    ids = work.source.ids(work.split)
    if work.split == "train":
        ids = np.random.default_rng([work.seed, epoch]).permutation(ids)
    ids = delivered.left_to_all(epoch, ids)[work.rank :: work.world_size]
    return delivered.left_to_rank(epoch, ids)


def epoch_batches(work: Work, epoch: int, delivered: Delivered = NOTHING) -> list[NDArray[np.int64]]:
    """``epoch_ids`` cut into batches; the last one may be smaller."""
    ids = epoch_ids(work, epoch, delivered)
    return [ids[start : start + work.batch_size] for start in range(0, len(ids), work.batch_size)]


def draw_boxes(
    work: Work,
    epoch: int,
    ids: NDArray[np.int64],
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
) -> Boxes:
    """The crop of each sample, wherever ``work.centred`` is false: val's are whole images as they are.

    ``heights`` and ``widths`` are the source images' sizes in pixels, (N,) int64 like ``ids``.
    """
    augmentation = work.augmentation
    uniform = _uniform(work.seed, epoch, ids, 2 * _TRIES + 3)
    mirror = (uniform[:, -1] < augmentation.flip) & (work.split == "train")
    if augmentation.crop == "resized":
        return _resized_boxes(augmentation, uniform, heights, widths)._replace(mirror=mirror)
    if augmentation.crop == "none":
        return Boxes(np.zeros_like(heights), np.zeros_like(widths), heights, widths, mirror)
    side = np.maximum(1, np.rint(np.minimum(heights, widths) * SQUARE_SHARE)).astype(np.int64)
    if augmentation.crop == "random":
        top, left = _places(uniform, heights - side, widths - side)
    else:
        # Halves to even, as in torchvision's CenterCrop.
        top, left = (np.rint((length - side) / 2).astype(np.int64) for length in (heights, widths))
    return Boxes(top, left, side, side, mirror)


def draw_angles(work: Work, epoch: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Degrees by which each sample's crop is turned counter-clockwise in an epoch, (N,): uniform."""
    uniform = _uniform(work.seed, epoch, ids, 2 * _TRIES + 4)[:, -1]
    return (2 * uniform - 1) * work.augmentation.rotation_degrees


def noise_seed(work: Work, epoch: int, ids: NDArray[np.int64]) -> int:
    """The seed of the noise of a batch, below 2**63."""
    said = np.array([work.seed, epoch], np.int64).tobytes() + ids.astype(np.int64).tobytes()
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "little") >> 1


def _places(
    uniform: NDArray[np.float64], down: NDArray[np.int64], across: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Top and left edges, uniform over 0..down and 0..across, pixels of room to move."""
    return (uniform[:, -2] * (down + 1)).astype(np.int64), (uniform[:, -3] * (across + 1)).astype(np.int64)


def _resized_boxes(
    augmentation: Augmentation,
    uniform: NDArray[np.float64],
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
) -> Boxes:
    """Crops with the distribution of torchvision's RandomResizedCrop, none mirrored.

    Algorithm: ``RandomResizedCrop.get_params`` in torchvision: ten tries at an area uniform in
    ``augmentation.area`` and an aspect ratio log-uniform in ``augmentation.aspect``; if none fits,
    the largest centred crop within the aspect range.
    """
    low, high = augmentation.area
    area = (heights * widths)[:, None] * (low + (high - low) * uniform[:, :_TRIES])
    log_low, log_high = (math.log(bound) for bound in augmentation.aspect)
    aspect = np.exp(log_low + (log_high - log_low) * uniform[:, _TRIES : 2 * _TRIES])
    # rint rounds halves to even, as Python's round does.
    try_widths = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    try_heights = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (
        (try_widths > 0)
        & (try_widths <= widths[:, None])
        & (try_heights > 0)
        & (try_heights <= heights[:, None])
    )
    first = fits.argmax(axis=1)
    found = fits.any(axis=1)
    rows = np.arange(len(uniform))
    whole_heights, whole_widths = _largest_within(augmentation, heights, widths)
    height = np.where(found, try_heights[rows, first], whole_heights)
    width = np.where(found, try_widths[rows, first], whole_widths)
    random_top, random_left = _places(uniform, heights - height, widths - width)
    top = np.where(found, random_top, (heights - height) // 2)
    left = np.where(found, random_left, (widths - width) // 2)
    return Boxes(top, left, height, width, np.zeros(len(uniform), np.bool_))


def centre_crop(height: int, width: int, image_size: int) -> CentreCrop:
    """Where ``work.centred``: torchvision's Resize(image_size * 8/7), then CenterCrop(image_size)."""
    shorter = round(image_size * 8 / 7)
    if width <= height:
        resized_width, resized_height = shorter, int(shorter * height / width)
    else:
        resized_width, resized_height = int(shorter * width / height), shorter
    top = round((resized_height - image_size) / 2)
    left = round((resized_width - image_size) / 2)
    return CentreCrop(resized_height, resized_width, top, left)


def _largest_within(
    augmentation: Augmentation, heights: NDArray[np.int64], widths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Height and width of the largest crop whose aspect ratio lies in the augmentation's range."""
    narrowest, widest = augmentation.aspect
    ratio = widths / heights
    crop_heights = np.where(ratio < narrowest, np.rint(widths / narrowest).astype(np.int64), heights)
    crop_widths = np.where(ratio > widest, np.rint(heights * widest).astype(np.int64), widths)
    return np.clip(crop_heights, 1, heights), np.clip(crop_widths, 1, widths)


def _uniform(seed: int, epoch: int, ids: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(N, count) doubles in [0, 1): a SplitMix64 stream for each id.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        run = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64) + _GAMMA)
        run = _mix(run ^ (np.uint64(epoch) + np.uint64(1)) * _GAMMA)
        start = _mix(run ^ _mix(ids.astype(np.uint64) + _GAMMA))
        steps = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
        bits = _mix(start[:, None] + steps[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function: a bijection whose output bits each depend on all input bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
