"""Ready means (pixel / 255 - mean) / std, in the compute dtype, channels_last, in memory of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from throughput.contracts import Batch, ComputeDtype, Loader, Source, Work
from throughput.errors import LoaderError
from throughput.measure.feed import Feed
from throughput.sources import open_source
from throughput.testing import write_contract_images

SIZE = 8


class Given(Loader):
    """Yields the batches that it was given, one after the other, and keeps none."""

    samples_per_epoch = 0

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches

    def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - every epoch is the same
        yield from self._batches


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("feed") / "images", 2))


def work_for(source: Source, dtype: ComputeDtype = "float32", channels: int = 3) -> Work:
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if channels == 3 else ((0.3,), (0.7,))
    return Work(
        source, image_size=SIZE, batch_size=4, channels=channels, mean=mean, std=std, compute_dtype=dtype
    )


def batch_of(images: torch.Tensor) -> Batch:
    count = len(images)
    return Batch(images, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def pixels(seed: int = 0, count: int = 4, channels: int = 3) -> torch.Tensor:
    """(count, channels, S, S) uint8 with every value of 0..255, in NHWC memory as loaders have it."""
    rng = np.random.default_rng(seed)
    values = np.resize(rng.permutation(256).astype(np.uint8), (count, SIZE, SIZE, channels))
    return torch.from_numpy(values).permute(0, 3, 1, 2)


def wanted(images: torch.Tensor, work: Work) -> torch.Tensor:
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1) for values in (work.mean, work.std)
    )
    return (images.double() / 255 - mean) / std


def fed(source: Source, images: torch.Tensor, dtype: ComputeDtype = "float32") -> torch.Tensor:
    work = work_for(source, dtype, images.shape[1])
    (ready,) = Feed(Given([batch_of(images)]), work).epoch(0)
    return ready.images


@pytest.mark.parametrize("channels", [1, 3])
def test_float32_is_the_formula_to_within_float32(source: Source, channels: int) -> None:
    images = pixels(channels=channels)
    ready = fed(source, images)
    assert ready.dtype == torch.float32
    torch.testing.assert_close(
        ready.double(), wanted(images, work_for(source, channels=channels)), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_the_formula_rounded_once(source: Source, dtype: ComputeDtype) -> None:
    images = pixels()
    ready = fed(source, images, dtype)
    assert ready.dtype == getattr(torch, dtype)
    exact = wanted(images, work_for(source))
    # Half a unit in the last place of the result: what a single rounding may cost, and float32's own error.
    half_unit = torch.finfo(ready.dtype).eps / 2
    assert ((ready.double() - exact).abs() <= exact.abs() * half_unit + 1e-6).all()


@pytest.mark.parametrize("layout", ["NHWC memory", "NCHW memory", "every second row"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_any_memory_layout_becomes_channels_last(source: Source, layout: str, dtype: ComputeDtype) -> None:
    images = pixels()
    if layout == "NCHW memory":
        images = images.contiguous()
    elif layout == "every second row":
        images = torch.from_numpy(np.repeat(images.permute(0, 2, 3, 1).numpy(), 2, axis=1))[:, ::2].permute(
            0, 3, 1, 2
        )
    ready = fed(source, images, dtype)
    assert ready.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ready.double(), wanted(images, work_for(source)), rtol=0.004, atol=1e-6)


def test_the_loaders_own_pixels_are_left_alone(source: Source) -> None:
    images = pixels()
    before = images.clone()
    fed(source, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_floating_batches_are_taken_as_normalised(source: Source, dtype: ComputeDtype) -> None:
    images = torch.randn(4, 3, SIZE, SIZE)
    ready = fed(source, images, dtype)
    assert ready.dtype == getattr(torch, dtype)
    assert ready.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(ready, images.to(ready.dtype))


def test_labels_and_ids_pass_unchanged(source: Source) -> None:
    given = Batch(pixels(), torch.tensor([3, 1, 2, 0]), torch.tensor([7, 9, -1, 7]))
    (ready,) = Feed(Given([given]), work_for(source)).epoch(0)
    assert ready.labels.tolist() == [3, 1, 2, 0]
    assert ready.ids.tolist() == [7, 9, -1, 7]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_batch_that_is_still_held_is_not_overwritten(source: Source, dtype: ComputeDtype) -> None:
    given = [pixels(seed) for seed in range(8)]
    work = work_for(source, dtype)
    held = list(Feed(Given([batch_of(images) for images in given]), work).epoch(0))
    for ready, images in zip(held, given, strict=True):
        torch.testing.assert_close(ready.images.double(), wanted(images, work), rtol=0.004, atol=1e-6)


VIEWS = {
    "slice": lambda images: images[1:2],
    "numpy": lambda images: torch.from_numpy(images.numpy()[1:2]),
    "storage": lambda images: torch.as_strided(images, (SIZE,), (1,)),
    "dlpack": torch.utils.dlpack.from_dlpack,
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_a_batch_keeps_its_memory(source: Source, view: str) -> None:
    work = work_for(source)
    views, copies = [], []
    for ready in Feed(Given([batch_of(pixels(seed)) for seed in range(8)]), work).epoch(0):
        views.append(VIEWS[view](ready.images))
        copies.append(views[-1].clone())
    for kept, copy in zip(views, copies, strict=True):
        assert torch.equal(kept, copy)


def test_what_autograd_has_saved_keeps_its_memory(source: Source) -> None:
    work = work_for(source)
    weight = torch.ones((4, 3, SIZE, SIZE), requires_grad=True)
    total = torch.zeros(())
    expected = torch.zeros_like(weight, dtype=torch.float64)
    for seed in range(6):
        for ready in Feed(Given([batch_of(pixels(seed))]), work).epoch(0):
            total = total + (weight * ready.images).sum()
        expected += wanted(pixels(seed), work)
    total.backward()
    torch.testing.assert_close(weight.grad.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_that_nobody_holds_is_used_again(source: Source, dtype: ComputeDtype) -> None:
    feed = Feed(Given([batch_of(pixels(seed)) for seed in range(10)]), work_for(source, dtype))
    places = []
    for epoch in range(3):
        for ready in feed.epoch(epoch):
            places.append(ready.images.data_ptr())
            del ready
    assert len(set(places)) <= 3


def test_batches_of_changing_sizes_are_right(source: Source) -> None:
    given = [pixels(seed, count) for seed, count in enumerate((4, 1, 4, 2, 3, 4))]
    work = work_for(source)
    for ready, images in zip(Feed(Given([*map(batch_of, given)]), work).epoch(0), given, strict=True):
        torch.testing.assert_close(ready.images.double(), wanted(images, work), rtol=0, atol=1e-6)


GOOD = pixels()


@pytest.mark.parametrize(
    "batch",
    [
        batch_of(GOOD[:, :, :, :7]),
        batch_of(GOOD[:, :2]),
        batch_of(GOOD.permute(0, 2, 3, 1)),
        batch_of(GOOD)._replace(labels=torch.zeros(3, dtype=torch.int64)),
        batch_of(GOOD)._replace(ids=torch.arange(5)),
        batch_of(GOOD[0]),
    ],
    ids=["wrong size", "wrong channels", "NHWC", "too few labels", "too many ids", "no batch"],
)
def test_a_batch_of_another_shape_is_an_error_that_names_both(source: Source, batch: Batch) -> None:
    with pytest.raises(LoaderError, match=rf"the work asks for images of shape \(\d, 3, {SIZE}, {SIZE}\)"):
        list(Feed(Given([batch]), work_for(source)).epoch(0))


def test_the_feed_asks_the_loader_for_the_epoch_that_it_was_asked_for(source: Source, tmp_path: Path) -> None:  # noqa: ARG001
    class Numbered(Given):
        def epoch(self, index: int) -> Iterator[Batch]:
            yield batch_of(pixels())._replace(ids=torch.full((4,), index))

    feed = Feed(Numbered([]), work_for(source))
    assert [int(batch.ids[0]) for epoch in (5, 2) for batch in feed.epoch(epoch)] == [5, 2]
