"""What the feed does to train images once for all loaders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate as torchvision_rotate

from throughput.canonical import draw_angles
from throughput.contracts import FILLER_ID, UNKNOWN_ID, Augmentation, Batch, Loader, Work
from throughput.loaders.replay import ReplayLoaderFactory, ReplayOptions
from throughput.measure.augment import rotate
from throughput.measure.feed import Feed
from throughput.sources import open_source
from throughput.testing import write_contract_images

SIZE = 24


class Given(Loader):
    """The same batches in every epoch."""

    samples_per_epoch = 0

    def __init__(self, *batches: Batch, finished: bool = False) -> None:
        self._batches = batches
        self.finished = finished

    def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - every epoch is the same
        yield from self._batches


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    source = open_source(write_contract_images(tmp_path_factory.mktemp("augment") / "images", 2))
    return Work(source, image_size=SIZE, batch_size=64)


def batch_of(images: torch.Tensor, first: int = 0) -> Batch:
    count = len(images)
    return Batch(images, torch.zeros(count, dtype=torch.int64), torch.arange(first, first + count))


def pixels(count: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)


def fed(work: Work, batch: Batch, epoch: int = 0) -> torch.Tensor:
    """Ready images brought back to 0..1, in float64."""
    (ready,) = Feed(Given(batch), work).epoch(epoch)
    assert ready.images.dtype == getattr(torch, work.compute_dtype)
    assert ready.images.is_contiguous(memory_format=torch.channels_last)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (work.mean, work.std))
    return ready.images.double() * std + mean


def asked(work: Work, **changes: float) -> Work:
    return replace(work, augmentation=Augmentation(**changes))  # type: ignore[arg-type] # by name


def test_crops_are_turned_as_torchvision_turns_them(work: Work) -> None:
    turning = asked(work, rotation_degrees=40.0)
    images = pixels()
    came = fed(turning, batch_of(images))
    angles = draw_angles(turning, 0, np.arange(len(images)))
    for image, angle, ready in zip(images, angles.tolist(), came, strict=True):
        wanted = torchvision_rotate(image.float() / 255, angle, InterpolationMode.BILINEAR)
        torch.testing.assert_close(ready.float(), wanted, rtol=0, atol=1e-5)
        if abs(angle) > 10:
            assert ready[:, 0, 0].abs().max() < 1e-6, "black where nothing was"


def test_nothing_is_turned_by_no_angle() -> None:
    images = torch.rand(3, 1, 9, 9)
    torch.testing.assert_close(rotate(images, torch.zeros(3)), images)


def test_noise_has_the_deviation_and_no_mean_and_may_leave_the_range(work: Work) -> None:
    images = torch.zeros(64, 3, SIZE, SIZE, dtype=torch.uint8)
    noise = fed(asked(work, noise=0.1), batch_of(images))
    # 110,592 values: the mean's deviation is 0.0003, the standard deviation's 0.0002.
    assert abs(float(noise.mean())) < 0.0015
    assert abs(float(noise.std()) - 0.1) < 0.001
    assert float(noise.min()) < -0.3
    flat = noise.permute(1, 0, 2, 3).flatten(1)
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.03
    assert torch.corrcoef(noise.flatten(1)).fill_diagonal_(0).abs().max() < 0.15


def test_epochs_and_batches_have_noise_of_their_own_and_seeds_repeat(work: Work) -> None:
    noisy, images = asked(work, noise=0.1, rotation_degrees=30), pixels(4)
    one = fed(noisy, batch_of(images))
    assert torch.equal(one, fed(noisy, batch_of(images)))
    for other in (
        fed(noisy, batch_of(images), epoch=1),
        fed(noisy, batch_of(images, first=1)),
        fed(replace(noisy, seed=1), batch_of(images)),
    ):
        assert (one - other).abs().mean() > 0.05


def test_floating_batches_get_the_same_as_uint8_ones(work: Work) -> None:
    augmented, images = asked(work, rotation_degrees=25, noise=0.05), pixels()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (work.mean, work.std))
    normalised = (images.float() / 255 - mean) / std
    same = fed(augmented, batch_of(normalised))
    torch.testing.assert_close(same, fed(augmented, batch_of(images)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_comes_last(work: Work, dtype: str) -> None:
    augmented, images = asked(work, rotation_degrees=25, noise=0.05), pixels()
    narrow = fed(replace(augmented, compute_dtype=dtype), batch_of(images))  # type: ignore[arg-type] # a dtype
    torch.testing.assert_close(narrow, fed(augmented, batch_of(images)), rtol=0.01, atol=0.01)


def test_held_out_images_and_finished_batches_are_left_alone(work: Work) -> None:
    augmented, batch = asked(work, rotation_degrees=90, noise=0.5), batch_of(pixels())
    plain = fed(work, batch)
    assert torch.equal(fed(replace(augmented, split="val"), batch), plain)
    (again,) = Feed(Given(batch, finished=True), augmented).epoch(0)
    (once,) = Feed(Given(batch), work).epoch(0)
    assert torch.equal(again.images, once.images)


def test_samples_without_ids_do_not_share_an_angle(work: Work) -> None:
    turning = asked(work, rotation_degrees=90)
    one = pixels(1).expand(4, -1, -1, -1)
    unknown = batch_of(one)._replace(ids=torch.full((4,), UNKNOWN_ID))
    first, second = (batch.images.clone() for batch in Feed(Given(unknown, unknown), turning).epoch(0))
    every = torch.cat([first, second]).flatten(1)
    assert len(torch.unique(every, dim=0)) == 8


def test_a_batch_with_filler_is_the_same_in_an_epoch_that_was_gone_on_with(work: Work) -> None:
    augmented = asked(work, rotation_degrees=90, noise=0.1)
    before, batch = batch_of(pixels(4)), batch_of(pixels(4), first=4)
    batch.ids[1] = FILLER_ID
    *_, whole = (one.images.clone() for one in Feed(Given(before, batch), augmented).epoch(0))
    (rest,) = (one.images for one in Feed(Given(batch), augmented).epoch(0))
    assert torch.equal(whole, rest)


def test_the_replayed_ceiling_pays_for_nothing_again(work: Work) -> None:
    augmented = replace(asked(work, noise=0.5), batch_size=2)
    with ReplayLoaderFactory().open(augmented, ReplayOptions()) as loader:
        raw = [batch.images.clone() for batch in loader.epoch(0)]
        ready = [batch.images.clone() for batch in Feed(loader, augmented).epoch(0)]
    assert all(torch.equal(one, other) for one, other in zip(raw, ready, strict=True))
