"""Crops of other kinds, angles and noise: honest ones pass, and each way of getting them wrong is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipes import RecipeLoaderFactory

from throughput.canonical import epoch_batches
from throughput.certificate import make_certificate
from throughput.certificate.augmenting import augmentation_checks
from throughput.certificate.heldout import CPU_LIMITS, data_checks
from throughput.certificate.images import OwnImages
from throughput.contracts import Augmentation, Batch, Crop, Loader, LoaderFactory, Work
from throughput.measure import augment
from throughput.pixels import render_batch
from throughput.sources import open_source

Turn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Add = Callable[[torch.Tensor, float, int], torch.Tensor]


@dataclass
class CanonicalFactory(LoaderFactory):
    """Pillow in this process. change: what becomes of the work before it is done."""

    change: Callable[[Work], Work] = lambda work: work
    name = "canonical"

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
        yield _Canonical(self.change(work))


class _Canonical(Loader):
    def __init__(self, work: Work) -> None:
        self._work = work
        self.samples_per_epoch = sum(map(len, epoch_batches(work, 0)))

    def epoch(self, index: int) -> Iterator[Batch]:
        source = self._work.source
        for ids in epoch_batches(self._work, index):
            images = render_batch(self._work, index, ids, [source.read(int(sample)) for sample in ids])
            yield Batch(
                torch.from_numpy(images).permute(0, 3, 1, 2),
                torch.from_numpy(source.labels[ids]),
                torch.from_numpy(ids),
            )


def with_crop(crop: Crop) -> Callable[[Work], Work]:
    return lambda work: replace(work, augmentation=replace(work.augmentation, crop=crop))


def asked(work: Work, **changes: Any) -> Work:
    return replace(work, augmentation=Augmentation(**changes))


def judged(factory: LoaderFactory, work: Work) -> set[str]:
    return {check.name for check in make_certificate(factory, None, work, data=False).failed}


@pytest.mark.parametrize(("crop", "channels"), [("random", 3), ("random", 1), ("centre", 1), ("none", 3)])
def test_honest_crops_of_every_kind_are_comparable(work: Work, crop: Crop, channels: int) -> None:
    cropping = asked(work, crop=crop, rotation_degrees=15, noise=0.03)
    if channels == 1:
        cropping = replace(cropping, channels=1, mean=(0.45,), std=(0.22,))
    certificate = make_certificate(CanonicalFactory(), None, cropping, data=False)
    assert certificate.comparable, certificate.failed
    names = {check.name for check in certificate.checks}
    assert "train.boxes" in names
    assert ("train.left" in names) == (crop == "random")
    assert ("train.rotation" in names) == (channels == 3)
    assert "train.noise_epochs" in names


@pytest.mark.parametrize(
    ("crop", "change", "caught"),
    [
        ("random", with_crop("resized"), "train.boxes"),
        ("random", with_crop("centre"), "train.left"),
        ("centre", with_crop("random"), "train.boxes"),
        ("none", with_crop("centre"), "train.boxes"),
    ],
)
def test_another_crop_than_was_asked_for_is_caught(work: Work, crop: Crop, change: Any, caught: str) -> None:
    assert caught in judged(CanonicalFactory(change), asked(work, crop=crop))


def test_a_held_out_image_that_is_cropped_in_place_of_whole_is_caught(work: Work) -> None:
    failed = judged(
        CanonicalFactory(lambda one: with_crop("resized")(one) if one.split == "val" else one),
        asked(work, crop="none"),
    )
    assert failed
    assert {name.partition(".")[0] for name in failed} == {"val"}


def _same_angle(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    return RIGHT_TURN(images, degrees[:1].expand(len(degrees)))


def _same_angles_each_time(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    fixed = 20 * (2 * torch.rand(len(degrees), generator=torch.Generator().manual_seed(1)) - 1)
    return RIGHT_TURN(images, fixed)


RIGHT_TURN, RIGHT_ADD = augment.rotate, augment.add_noise
PLACES = {"train.rotation_places", "train.rotation_batches"}


@pytest.mark.parametrize(
    ("turn", "caught"),
    [
        (lambda images, degrees: images, {"train.rotation"}),  # noqa: ARG005 - the fault
        (lambda images, degrees: RIGHT_TURN(images, degrees.abs()), {"train.rotation"}),
        (_same_angle, {"train.rotation"}),
        (_same_angles_each_time, PLACES),
    ],
    ids=["never", "one-way", "one-angle-a-batch", "the-same-in-each-batch"],
)
def test_faults_of_the_angles_are_caught(
    work: Work, steady: OwnImages, monkeypatch: pytest.MonkeyPatch, turn: Turn, caught: set[str]
) -> None:
    monkeypatch.setattr(augment, "rotate", turn)
    checks = augmentation_checks(CanonicalFactory(), None, asked(work, rotation_degrees=20), steady)
    assert caught <= {check.name for check in checks if not check.ok}


def test_the_same_angle_in_each_epoch_is_caught(
    work: Work, steady: OwnImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = augment.draw_angles
    monkeypatch.setattr(augment, "draw_angles", lambda work, epoch, ids: draw(work, 0, ids))  # noqa: ARG005 - the fault
    checks = augmentation_checks(CanonicalFactory(), None, asked(work, rotation_degrees=20), steady)
    assert {check.name for check in checks if not check.ok} == {"train.rotation_epochs"}


def _one_for_all_channels(images: torch.Tensor, std: float, seed: int) -> torch.Tensor:
    return images + (RIGHT_ADD(images, std, seed) - images)[:, :1]


@pytest.mark.parametrize(
    ("add", "caught"),
    [
        (lambda images, std, seed: RIGHT_ADD(images, 2 * std, seed), {"train.noise"}),
        (lambda images, std, seed: RIGHT_ADD(images, std, seed) + std / 2, {"train.noise_mean"}),
        (
            lambda images, std, seed: RIGHT_ADD(images, std, 7),  # noqa: ARG005 - the fault
            {"train.noise_places", "train.noise_batches"},
        ),
        (_one_for_all_channels, {"train.noise_channels"}),
    ],
    ids=["twice", "brighter", "the-same-in-each-batch", "the-same-in-each-channel"],
)
def test_faults_of_the_noise_are_caught(
    work: Work, steady: OwnImages, monkeypatch: pytest.MonkeyPatch, add: Add, caught: set[str]
) -> None:
    monkeypatch.setattr(augment, "add_noise", add)
    checks = augmentation_checks(CanonicalFactory(), None, asked(work, noise=0.04), steady)
    # Other checks of the noise look at the same pixels.
    assert caught <= {check.name for check in checks if not check.ok}


def test_the_same_noise_in_each_epoch_is_caught(
    work: Work, steady: OwnImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keyed_by_sample(images: torch.Tensor, work: Work, epoch: int, ids: Any) -> torch.Tensor:  # noqa: ARG001 - the fault
        return torch.cat(
            [
                RIGHT_ADD(image[None], work.augmentation.noise, int(sample))
                for image, sample in zip(images, ids, strict=True)
            ]
        )

    monkeypatch.setattr("throughput.measure.feed.augment", keyed_by_sample)
    checks = augmentation_checks(CanonicalFactory(), None, asked(work, noise=0.04), steady)
    assert {check.name for check in checks if not check.ok} == {"train.noise_epochs"}


def test_a_loader_that_draws_crops_of_its_own_is_comparable(work: Work) -> None:
    turned = asked(work, rotation_degrees=30, noise=0.05)
    certificate = make_certificate(RecipeLoaderFactory(), None, turned, data=False)
    assert certificate.comparable, certificate.failed


def test_what_is_too_little_to_be_read_is_not_judged(work: Work, steady: OwnImages) -> None:
    little = asked(work, rotation_degrees=1, noise=0.001)
    assert augmentation_checks(CanonicalFactory(), None, little, steady) == []


def test_targets_are_certified_as_labels_are(work: Work, tmp_path: Path) -> None:
    down, across = np.mgrid[:32, :40]
    images = (np.arange(40)[:, None, None] + 3 * down + 2 * across).astype(np.uint8)
    targets = np.random.default_rng(0).normal(size=(40, 2))
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "targets.npy", targets)
    source = open_source(tmp_path / "images.npy", labels=tmp_path / "targets.npy")
    mine = replace(work, source=source, split="val", batch_size=8)
    right = data_checks(CanonicalFactory(), None, mine, CPU_LIMITS, 64)
    assert right
    assert all(check.ok for check in right), right

    def swapped(one: Work) -> Work:
        return replace(one, source=replace(source, labels=np.roll(source.labels, 1, axis=0)))

    found = data_checks(CanonicalFactory(swapped), None, mine, CPU_LIMITS, 64)
    assert [check.words for check in found if not check.ok] == ["8 of 8 targets are wrong"]

    def one_short(one: Work) -> Work:
        parts = np.where(np.arange(40) == source.ids("val")[3], 2, source.parts).astype(np.int8)
        return replace(one, source=source.with_parts(parts))

    found = data_checks(CanonicalFactory(one_short), None, mine, CPU_LIMITS, 64)
    assert [check.words for check in found if not check.ok] == ["1 of 8 ids never come"]
