"""Each way of getting the work wrong that a certificate must catch, and the check that must catch it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from recipes import RIGHT, RecipeLoaderFactory, normalised
from workers import WorkersLoaderFactory

from throughput.contracts import LoaderFactory, Work


@dataclass(frozen=True)
class Fault:
    """caught_by: checks of which each must fail. related: beginnings of others that may fail as well."""

    name: str
    factory: LoaderFactory
    caught_by: tuple[str, ...]
    related: tuple[str, ...] = ()


def _means_of_0_to_1(pixels: torch.Tensor, work: Work) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (work.mean, work.std))
    return (pixels.float() - mean) / std


def _blue_first(pixels: torch.Tensor, work: Work) -> torch.Tensor:
    return normalised(pixels.flip(1), work)


def _in_grey(pixels: torch.Tensor, work: Work) -> torch.Tensor:
    return normalised(pixels.float().mean(1, keepdim=True).expand(-1, 3, -1, -1).round().byte(), work)


def _brighter_red(pixels: torch.Tensor, work: Work) -> torch.Tensor:
    ready = normalised(pixels, work)
    ready[:, 0] += 1.0 / 255 / work.std[0]
    return ready


def _not_normalised(pixels: torch.Tensor, work: Work) -> torch.Tensor:  # noqa: ARG001 - the fault
    return pixels.float() / 255


def _one_coin_a_batch(pixels: torch.Tensor, work: Work) -> torch.Tensor:  # noqa: ARG001 - a recipe's signature
    return pixels.flip(3) if int(pixels[0].sum()) & 1 else pixels


def _every_other_one_mirrored(pixels: torch.Tensor, work: Work) -> torch.Tensor:  # noqa: ARG001 - as above
    mirrored = pixels.clone()
    mirrored[1::2] = pixels[1::2].flip(3)
    return mirrored


def _backwards(ids, source):  # noqa: ARG001 - a recipe's signature
    return np.sort(ids)[::-1].copy()


def _without(ids, source):
    return ids[source.labels[ids] != 3]


def _first_batch_again(ids, source):  # noqa: ARG001 - a recipe's signature
    return np.concatenate([ids[:64], ids])


def _one_in_place_of_another(ids, source):  # noqa: ARG001 - a recipe's signature
    ids = ids.copy()
    ids[0] = ids[1]
    return ids


def _padded(ids, source):  # noqa: ARG001 - a recipe's signature
    return np.concatenate([ids, ids[: -len(ids) % 64]])


def _plus_one(labels, classes):  # noqa: ARG001 - a recipe's signature
    return labels + 1


def _recipe(name: str, *caught_by: str, related: tuple[str, ...] = (), **changes: object) -> Fault:
    return Fault(name, RecipeLoaderFactory(replace(RIGHT, **changes)), caught_by, related)  # type: ignore[arg-type] # by name


_TRAIN = ("train",)
_VAL = ("val",)
_EPOCHS = ("train.epochs", "train.workers")
_BOXES = (
    "train.area",
    "train.smallest_areas",
    "train.largest_areas",
    "train.aspect",
    "train.extreme_aspects",
    "train.left",
    "train.top",
    "train.position",
    *_EPOCHS,
)

REQUIRED = (
    _recipe(
        "0..1 mean/std applied to 0..255 pixels",
        "val.range",
        "train.range",
        related=("val.mean", "val.std", "train.mean", "train.std"),
        finish=_means_of_0_to_1,
    ),
    _recipe("BGR for RGB", "val.channels", "train.channels", finish=_blue_first),
    _recipe("crop area from 0.1", "train.smallest_areas", area=(0.1, 1.0)),
    _recipe("aspect 0.8..1.25", "train.aspect", related=("train.extreme_aspects",), aspect=(0.8, 1.25)),
    _recipe(
        "a resize without antialias",
        "val.error_mean",
        "train.pixels",
        related=("val.error", "val.std"),
        filter="no antialiasing",
    ),
    _recipe(
        "centre crop in place of random crop",
        "train.area",
        "train.left",
        related=(*_BOXES, "train.pixels"),
        splits=_TRAIN,
        centre=True,
    ),
    _recipe("missing flip", "train.flip", flip=0.0),
    _recipe("20 px too large", "val.shape", "train.shape", extra_pixels=20),
    _recipe("labels off by one", "val.labels", "train.labels", relabel=_plus_one),
    _recipe("EXIF rotation", "val.orientation", "train.orientation", turned=True),
    _recipe(
        "one class dropped", "val.ids", "train.ids", related=("val.ranks", "train.ranks"), order=_without
    ),
    _recipe(
        "one batch served twice",
        "train.ids",
        related=("train.ranks",),
        splits=_TRAIN,
        order=_first_batch_again,
    ),
    _recipe("the same augmentation in every epoch", "train.epochs", keyed="sample"),
    Fault("the same augmentation in every worker", WorkersLoaderFactory(one_seed=True), ("train.workers",)),
)
"""The faults that the requirement lists."""

FURTHER = (
    _recipe(
        "0..1 mean/std on 0..255, in train only",
        "train.range",
        related=("train.mean", "train.std"),
        finish=_means_of_0_to_1,
        splits=_TRAIN,
    ),
    _recipe(
        "not normalised",
        "val.range",
        "train.range",
        related=("val.mean", "val.std", "train.mean", "train.std"),
        finish=_not_normalised,
    ),
    _recipe("BGR in val only", "val.channels", finish=_blue_first, splits=_VAL),
    _recipe("grey in place of colour", "val.channels", "train.channels", finish=_in_grey),
    _recipe("red brighter by one level", "val.mean", "train.mean", finish=_brighter_red),
    _recipe("crop area to 0.9", "train.largest_areas", area=(0.08, 0.9), related=("train.area",)),
    _recipe("crop area from 0.05", "train.smallest_areas", area=(0.05, 1.0)),
    _recipe(
        "aspect 0.5..2",
        "train.aspect",
        "train.extreme_aspects",
        aspect=(0.5, 2.0),
        related=("train.area", "train.left", "train.top", "train.largest"),
    ),
    _recipe("crops towards a corner", "train.left", "train.top", bias=1.3, related=("train.position",)),
    _recipe(
        "one coin for the mirrors of a batch",
        "train.mirrors",
        related=("train.flip", "train.epochs"),
        flip=0.0,
        finish=_one_coin_a_batch,
        splits=_TRAIN,
    ),
    _recipe(
        "every other image mirrored",
        "train.mirrors",
        related=("train.epochs",),
        flip=0.0,
        finish=_every_other_one_mirrored,
        splits=_TRAIN,
    ),
    _recipe("a twentieth of the crops kept from epoch to epoch", "train.epochs", kept_every=20),
    _recipe("the order of the source backwards", "train.order", splits=_TRAIN, order=_backwards),
    _recipe("always mirrored", "train.flip", flip=1.0),
    _recipe("mirrored upside down", "train.orientation", flip_down=0.5),
    _recipe(
        "nearest neighbour",
        "val.error_mean",
        "train.pixels",
        filter="nearest",
        related=("val.error", "val.std", "train.content"),
    ),
    _recipe("no antialias in train only", "train.pixels", filter="no antialiasing", splits=_TRAIN),
    _recipe("held-out image 1 px to the left", "val.crop", shift=1, related=("val.error",)),
    _recipe(
        "a permutation of labels",
        "train.labels",
        "val.labels",
        relabel=lambda labels, classes: np.array([1, 0, *range(2, classes)])[labels],
    ),
    _recipe("pixels of another image", "train.content", "val.content", swap=lambda ids: np.roll(ids, 1)),
    _recipe(
        "one sample in place of another",
        "train.ids",
        "val.ids",
        order=_one_in_place_of_another,
        related=("train.ranks", "val.ranks"),
    ),
    _recipe(
        "padding with repeats", "train.ids", "val.ids", order=_padded, related=("train.ranks", "val.ranks")
    ),
    _recipe("a rank that serves everything", "train.ranks", "val.ranks", whole_rank=True),
    _recipe("one random stream for all workers", "train.workers", keyed="epoch"),
    _recipe("random streams start over in each epoch", "train.epochs", keyed="worker"),
    Fault(
        "one seed in every worker and epoch",
        WorkersLoaderFactory(one_seed=True, each_epoch=False),
        ("train.workers", "train.epochs"),
    ),
)
"""Faults beyond those."""
