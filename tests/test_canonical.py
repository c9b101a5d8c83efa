"""The canonical crops against torchvision's own, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import RandomResizedCrop, v2

from throughput.canonical import Boxes, centre_crop, draw_boxes, epoch_batches, epoch_ids
from throughput.contracts import Augmentation, Source, Split, Work

DRAWS = 4000
SIZES = [(375, 500), (500, 333), (64, 64), (40, 300), (300, 40)]


@dataclass(frozen=True)
class Numbered(Source):
    """Only ids: ``train`` is the even ones of ``count``, ``val`` the odd ones."""

    count: int
    location: str = "nowhere"
    classes: tuple[str, ...] = ("one",)
    fingerprint: str = "0"

    @property
    def labels(self) -> NDArray[np.int64]:  # type: ignore[override]
        return np.zeros(self.count, np.int64)

    def ids(self, split: Split) -> NDArray[np.int64]:
        return np.arange(split == "val", self.count, 2, dtype=np.int64)

    def read(self, sample_id: int) -> bytes:
        raise NotImplementedError

    def describe(self, sample_id: int) -> str:
        raise NotImplementedError

    def encoded_bytes(self) -> int:
        raise NotImplementedError

    def files(self) -> tuple[Path, ...]:
        raise NotImplementedError


WORK = Work(Numbered(1000), batch_size=8)


def drawn(work: Work, size: tuple[int, int], epoch: int = 0, count: int = DRAWS) -> Boxes:
    ids = np.arange(count, dtype=np.int64)
    height, width = (np.full(count, side, np.int64) for side in size)
    return draw_boxes(work, epoch, ids, height, width)


@cache
def torchvision_boxes(size: tuple[int, int], count: int = DRAWS) -> NDArray[np.int64]:
    """(count, 4): top, left, height, width, as RandomResizedCrop draws them."""
    torch.manual_seed(0)
    image = torch.empty((1, *size), dtype=torch.uint8)
    return np.array(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)], np.int64
    )


Z_LIMIT = 6.0
"""In standard deviations: a false alarm in 500 million for each comparison."""


def largest_z(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """The largest difference between the two samples' distributions, in its standard deviations.

    As Kolmogorov and Smirnov's statistic, but each difference is divided by what chance makes of it there,
    so that tails count as much as the middle.
    """
    shares = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
    pooled = np.concatenate([ours, theirs])
    cuts = np.unique(np.quantile(pooled, shares, method="inverted_cdf"))
    mine, other, both = ((sample[:, None] <= cuts).mean(axis=0) for sample in (ours, theirs, pooled))
    chance = np.sqrt(both * (1 - both) * (1 / len(ours) + 1 / len(theirs)))
    differs = chance > 0
    return float((np.abs(mine - other)[differs] / chance[differs]).max(initial=0))


def differences(boxes: Boxes, reference: NDArray[np.int64]) -> dict[str, float]:
    top, left, height, width = reference.T
    measures = {
        "area": (boxes.height * boxes.width, height * width),
        "aspect": (boxes.width / boxes.height, width / height),
        "height": (boxes.height, height),
        "width": (boxes.width, width),
        "top": (boxes.top, top),
        "left": (boxes.left, left),
        "below": (boxes.top + boxes.height, top + height),
        "right": (boxes.left + boxes.width, left + width),
    }
    found = {name: largest_z(ours, theirs) for name, (ours, theirs) in measures.items()}
    return {name: z for name, z in found.items() if z > Z_LIMIT}


@pytest.mark.parametrize("size", SIZES)
def test_crops_are_distributed_as_torchvision_draws_them(size: tuple[int, int]) -> None:
    assert differences(drawn(WORK, size), torchvision_boxes(size)) == {}


@pytest.mark.parametrize(
    ("fault", "shows_in"),
    [
        (Augmentation(area=(0.1, 1.0)), "area"),
        (Augmentation(area=(0.08, 0.8)), "area"),
        (Augmentation(aspect=(4 / 5, 4 / 3)), "aspect"),
        (Augmentation(aspect=(3 / 4, 5 / 4)), "aspect"),
    ],
    ids=["area from 0.1", "area to 0.8", "aspect from 4/5", "aspect to 5/4"],
)
def test_other_ranges_would_be_noticed(fault: Augmentation, shows_in: str) -> None:
    boxes = drawn(replace(WORK, augmentation=fault), (375, 500))
    assert shows_in in differences(boxes, torchvision_boxes((375, 500)))


def test_a_crop_that_never_touches_the_far_edge_would_be_noticed() -> None:
    boxes = drawn(WORK, (64, 64))
    short = boxes._replace(left=np.minimum(boxes.left, np.maximum(0, 63 - boxes.width)))
    assert "right" in differences(short, torchvision_boxes((64, 64)))


def test_crops_lie_within_image_area_and_aspect() -> None:
    height, width = 375, 500
    top, left, crop_height, crop_width, _ = drawn(WORK, (height, width))
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + crop_height <= height).all()
    assert (left + crop_width <= width).all()
    # Sides are rounded to whole pixels: half a pixel may come or go on each.
    shares = (crop_height + 0.5) * (crop_width + 0.5) / (height * width)
    assert shares.min() >= 0.08
    assert ((crop_height - 0.5) * (crop_width - 0.5) / (height * width)).max() <= 1
    assert ((crop_width + 0.5) / (crop_height - 0.5)).min() >= 3 / 4
    assert ((crop_width - 0.5) / (crop_height + 0.5)).max() <= 4 / 3
    assert top.min() == 0
    assert left.min() == 0
    assert (top + crop_height).max() == height
    assert (left + crop_width).max() == width


def test_the_whole_image_where_the_augmentation_asks_for_it() -> None:
    whole = replace(WORK, augmentation=Augmentation(area=(1, 1), aspect=(1, 1), flip=0))
    boxes = drawn(whole, (97, 97))
    assert {name: set(values.tolist()) for name, values in boxes._asdict().items()} == {
        "top": {0},
        "left": {0},
        "height": {97},
        "width": {97},
        "mirror": {False},
    }


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 5000), (5000, 1), (2, 3000), (65535, 7)])
def test_extreme_sizes_get_crops_inside_the_image(size: tuple[int, int]) -> None:
    top, left, height, width, _ = drawn(WORK, size, count=500)
    assert (height >= 1).all()
    assert (width >= 1).all()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= size[0]).all()
    assert (left + width <= size[1]).all()


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (10, 4000), (4001, 10)])
def test_where_no_try_fits_it_is_torchvisions_centred_crop(size: tuple[int, int]) -> None:
    boxes = drawn(WORK, size, count=200)
    ours = np.stack([boxes.top, boxes.left, boxes.height, boxes.width], axis=1)
    assert np.unique(ours, axis=0).tolist() == np.unique(torchvision_boxes(size, 200), axis=0).tolist()


def test_a_crop_does_not_depend_on_the_batch_that_it_is_drawn_in() -> None:
    rng = np.random.default_rng(0)
    ids = rng.permutation(1000).astype(np.int64)
    heights, widths = rng.integers(1, 600, 1000), rng.integers(1, 600, 1000)
    together = draw_boxes(WORK, 3, ids, heights, widths)
    for begin, end in ((0, 1), (1, 8), (990, 1000)):
        part = slice(begin, end)
        alone = draw_boxes(WORK, 3, ids[part], heights[part], widths[part])
        for one, other in zip(alone, together, strict=True):
            assert one.tolist() == other[part].tolist()


@pytest.mark.parametrize(
    ("work", "epoch", "first_id"),
    [(WORK, 1, 0), (replace(WORK, seed=1), 0, 0), (WORK, 0, 1), (WORK, 0, 1 << 40)],
    ids=["epoch", "seed", "neighbouring id", "far id"],
)
def test_epochs_seeds_and_ids_are_uncorrelated(work: Work, epoch: int, first_id: int) -> None:
    count = 20_000
    sides = np.full(count, 1000, np.int64)
    first = draw_boxes(WORK, 0, np.arange(count, dtype=np.int64), sides, sides)
    other = draw_boxes(work, epoch, first_id + np.arange(count, dtype=np.int64), sides, sides)
    limit = 5.5 / math.sqrt(count)
    for ours in first:
        for theirs in other:
            assert abs(np.corrcoef(ours, theirs)[0, 1]) < limit


def test_place_area_and_mirror_of_one_crop_are_uncorrelated() -> None:
    count = 20_000
    boxes = drawn(replace(WORK, augmentation=Augmentation(area=(0.25, 0.25))), (2000, 2000), count=count)
    free = {
        "down": boxes.top / (2001 - boxes.height),
        "across": boxes.left / (2001 - boxes.width),
        "aspect": np.log(boxes.width / boxes.height),
        "mirror": boxes.mirror.astype(np.float64),
    }
    correlations = np.corrcoef(np.stack(list(free.values()))) - np.eye(len(free))
    assert np.abs(correlations).max() < 5.5 / math.sqrt(count)


@pytest.mark.parametrize("flip", [0.0, 0.3, 0.5, 1.0])
def test_mirrors_come_as_often_as_asked(flip: float) -> None:
    count = 20_000
    boxes = drawn(replace(WORK, augmentation=Augmentation(flip=flip)), (50, 50), count=count)
    spread = 5.5 * math.sqrt(flip * (1 - flip) / count)
    assert abs(boxes.mirror.mean() - flip) <= spread


CENTRE_SIZES = [
    (1, 1),
    (2, 7),
    (32, 32),
    (37, 37),
    (33, 500),
    (501, 32),
    (224, 224),
    (255, 256),
    (257, 256),
    (333, 500),
    (375, 501),
    (499, 374),
]


@pytest.mark.parametrize("image_size", [224, 32, 29])
@pytest.mark.parametrize("size", CENTRE_SIZES)
def test_the_centre_crop_is_torchvisions_pixel_for_pixel(size: tuple[int, int], image_size: int) -> None:
    height, width = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    reference = v2.Compose([v2.Resize(round(image_size * 8 / 7), antialias=True), v2.CenterCrop(image_size)])(
        image
    )
    crop = centre_crop(height, width, image_size)
    resized = image.resize((crop.width, crop.height), Image.Resampling.BILINEAR)
    ours = resized.crop((crop.left, crop.top, crop.left + image_size, crop.top + image_size))
    assert np.array_equal(np.asarray(ours), np.asarray(reference))


def test_an_epoch_holds_every_id_of_its_split_once() -> None:
    for split in ("train", "val"):
        work = replace(WORK, split=split)
        assert sorted(epoch_ids(work, 5)) == work.source.ids(split).tolist()


def test_train_orders_differ_between_epochs_and_seeds_and_repeat() -> None:
    first = epoch_ids(WORK, 0).tolist()
    assert epoch_ids(WORK, 0).tolist() == first
    others = [epoch_ids(WORK, 1).tolist(), epoch_ids(replace(WORK, seed=1), 0).tolist(), sorted(first)]
    assert first not in others


def test_val_comes_in_ascending_order_in_every_epoch() -> None:
    work = replace(WORK, split="val")
    assert epoch_ids(work, 0).tolist() == epoch_ids(work, 7).tolist() == sorted(work.source.ids("val"))


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_ranks_are_disjoint_cover_the_split_and_differ_by_one_at_most(split: Split, world_size: int) -> None:
    shares = [
        epoch_ids(replace(WORK, split=split, rank=rank, world_size=world_size), 2).tolist()
        for rank in range(world_size)
    ]
    assert sorted(chain.from_iterable(shares)) == WORK.source.ids(split).tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("batch_size", [1, 8, 499, 500])
def test_batches_cut_the_epoch_and_only_the_last_is_smaller(batch_size: int) -> None:
    work = replace(WORK, batch_size=batch_size)
    batches = epoch_batches(work, 1)
    assert np.concatenate(batches).tolist() == epoch_ids(work, 1).tolist()
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert 1 <= len(batches[-1]) <= batch_size
