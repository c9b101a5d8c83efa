"""The train checks: two epochs of either set, read off the crops as they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from throughput.certificate.calibration import Calibration, calibrate
from throughput.certificate.coordinates import Coordinates, Planes, fit_planes, read_boxes
from throughput.certificate.crops import Crops
from throughput.certificate.delivery import Delivery, deliver
from throughput.certificate.distributions import crop_checks
from throughput.certificate.heldout import PixelLimits
from throughput.certificate.images import OwnImages
from throughput.certificate.rollcall import check_ids, check_labels, check_order
from throughput.certificate.texture import check_textured
from throughput.contracts import LoaderFactory, Work
from throughput.results import Check

EPOCHS = (0, 1)
_LATER_EPOCHS = (2, 3)
STEADY_SIZE = 112
"""Of the crops of the steady set, in pixels, or the work's own size where that is smaller: which crops are
drawn shows at any size, and half the crops of every certificate are read off in a third of the time."""
DRAWN = frozenset(
    f"train.{name}"
    for name in (
        *("area", "smallest_areas", "largest_areas", "aspect", "extreme_aspects"),
        *("left", "top", "position", "flip", "mirrors"),
    )
)
"""Checks that compare samples, which chance may fail: once in many certificates, and hardly twice in one.

Crops that come again are not among them: those are never let off.
"""
TILT_LIMIT = 0.15
"""How far a channel that rises along one axis may rise along the other, as a share of the former."""


@dataclass
class Look:
    """What was read off the batches of one set.

    planes, ids: a part for each batch. textured: ids and ready crops of textured images, (C, S, S).
    """

    own: OwnImages
    work: Work
    planes: list[Planes] = field(default_factory=list)
    ids: list[NDArray[np.int64]] = field(default_factory=list)
    textured: list[tuple[int, torch.Tensor]] = field(default_factory=list)

    def __call__(self, images: torch.Tensor, ids: NDArray[np.int64]) -> None:
        kinds = np.array(
            [
                self.own.images[sample].kind
                if sample < len(self.own.images) and self.own.images[sample].split == "train"
                else "unknown"
                for sample in ids.tolist()
            ]
        )
        chosen = np.flatnonzero(kinds == "coordinates")
        if len(chosen):
            # All are fitted: picking out images would copy whole ones.
            planes = fit_planes(images, self.work.mean, self.work.std)
            self.planes.append(Planes(*(part[chosen] for part in planes)))
            self.ids.append(ids[chosen])
        for place in np.flatnonzero(kinds == "textured").tolist():
            self.textured.append((int(ids[place]), images[place].float().cpu().clone()))


@dataclass(frozen=True)
class _Taken:
    """Two epochs of a set."""

    own: OwnImages
    delivery: Delivery
    look: Look


def train_checks(
    factory: LoaderFactory, options: Any, work: Work, steady: OwnImages, mixed: OwnImages, limits: PixelLimits
) -> list[Check]:
    """All train checks but those of the ranks. Raises BrokenError and UnknownIdsError.

    A check of what is drawn fails if it fails once more on crops of later epochs. The seed stays: a fault
    that only some seeds show would be let off by another.
    """

    def of(epochs: tuple[int, ...]) -> list[Check]:
        return _checks_of_epochs(factory, options, work, steady, mixed, limits, epochs)

    checks = of(EPOCHS)
    doubted = {check.name for check in checks if not check.ok} & DRAWN
    if not doubted:
        return checks
    second = {check.name: check for check in of(_LATER_EPOCHS) if check.name in doubted}
    return [second.get(check.name, check) for check in checks]


def _checks_of_epochs(
    factory: LoaderFactory,
    options: Any,
    work: Work,
    steady: OwnImages,
    mixed: OwnImages,
    limits: PixelLimits,
    epochs: tuple[int, ...],
) -> list[Check]:
    taken = []
    for own in (steady, mixed):
        largest = STEADY_SIZE if own is steady else work.image_size
        over = replace(work, source=own.source, split="train", image_size=min(work.image_size, largest))
        look = Look(own, over)
        taken.append(_Taken(own, deliver(factory, options, over, epochs, look), look))
    size = work.image_size
    dtypes = ", ".join(sorted(set.union(*(one.delivery.dtypes for one in taken))))
    checks = [
        Check("train.shape", True, f"images come as (N, {work.channels}, {size}, {size})"),
        Check("train.dtype", True, f"images come as {dtypes}, labels as int64"),
        _worst(
            check_ids("train.ids", one.own.source, one.own.source.ids("train"), one.delivery) for one in taken
        ),
        _worst(check_labels("train.labels", one.own.source, one.delivery.epochs) for one in taken),
        _worst(check_order(one.delivery.epochs) for one in taken),
    ]
    if not all(one.look.planes for one in taken):
        return checks  # hardly an id came, and that is told
    planes = _joined([part for one in taken for part in one.look.planes])
    images = [
        _coordinates(one.own, sample) for one in taken for ids in one.look.ids for sample in ids.tolist()
    ]
    calibration = calibrate(planes, images, work)
    checks += calibration.checks
    if not calibration.usable:
        return checks
    right = calibration.correct(planes)
    upright, orientation = _check_orientation(right, images, taken, calibration)
    checks.append(orientation)
    readable = calibration.own & upright
    if readable.mean() > 0.5:
        checks += crop_checks(_crops(right, images, taken, readable), work)
    checks += check_textured(mixed, taken[1].look.textured, calibration, work, limits)
    return checks


def _worst(checks: Iterable[Check]) -> Check:
    """The first that failed, else the first."""
    told = list(checks)
    return next((check for check in told if not check.ok), told[0])


def _joined(parts: list[Planes]) -> Planes:
    return Planes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _coordinates(own: OwnImages, sample: int) -> Coordinates:
    image = own.images[sample].coordinates
    assert image is not None
    return image


def _check_orientation(
    planes: Planes, images: list[Coordinates], taken: list[_Taken], calibration: Calibration
) -> tuple[NDArray[np.bool_], Check]:
    """Which crops, (N,) bool, are neither turned nor upside down; and the check."""
    tagged = np.array(
        [
            one.own.images[sample].orientation != 1
            for one in taken
            for ids in one.look.ids
            for sample in ids.tolist()
        ]
    )
    boxes = read_boxes(planes, images)
    tilted = np.zeros(len(images), np.bool_)
    if planes.centre.shape[1] == 3:
        rows = np.arange(len(images))
        across, down = (np.array([getattr(one, name) for one in images]) for name in ("across", "down"))
        for main, cross, channel in (
            (planes.across, planes.down, across),
            (planes.down, planes.across, down),
        ):
            tilted |= np.abs(cross[rows, channel]) > TILT_LIMIT * np.abs(main[rows, channel]) + 2
    wrong = calibration.own & (tilted | boxes.upside_down)
    count, by_tag = int(wrong.sum()), int((wrong & tagged).sum())
    words = "no crop comes turned or upside down, whatever its EXIF orientation"
    if count and count == by_tag:
        words = (
            f"{by_tag} of {int((calibration.own & tagged).sum())} crops of images with an EXIF orientation "
            "are turned; the work leaves them as stored"
        )
    elif count:
        upside = int((wrong & boxes.upside_down & ~tilted).sum())
        words = f"{upside:,} of {len(images):,} crops come upside down, {count - upside:,} turned"
    return ~(tilted | boxes.upside_down), Check("train.orientation", count == 0, words, float(count), 0.0)


def _crops(
    planes: Planes, images: list[Coordinates], taken: list[_Taken], readable: NDArray[np.bool_]
) -> Crops:
    """The readable crops on whole pixels inside their images."""
    boxes = read_boxes(planes, images)
    sizes = np.array([(image.width, image.height) for image in images], np.int64)
    extents = np.clip(np.rint(np.stack([boxes.width, boxes.height], 1)), 1, sizes)
    begins = np.clip(np.rint(np.stack([boxes.left, boxes.top], 1)), 0, sizes - extents)
    steady = np.concatenate(
        [np.full(len(ids), place == 0) for place, one in enumerate(taken) for ids in one.look.ids]
    )
    return Crops(
        steady=steady[readable],
        epochs=np.concatenate([_epochs(one) for one in taken])[readable],
        ids=np.concatenate([ids for one in taken for ids in one.look.ids])[readable],
        sizes=sizes[readable],
        boxes=np.concatenate([begins, extents], 1).astype(np.int64)[readable],
        mirror=boxes.mirror[readable],
    )


def _epochs(taken: _Taken) -> NDArray[np.int64]:
    """The epoch of each coordinate crop that was looked at, (N,)."""
    images = taken.own.images
    counts = [
        sum(
            sample < len(images) and (images[sample].kind, images[sample].split) == ("coordinates", "train")
            for sample in epoch.ids.tolist()
        )
        for epoch in taken.delivery.epochs
    ]
    return np.repeat(np.arange(len(counts)), counts)
