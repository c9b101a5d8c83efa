"""Every loader reads arrays: the labels, and Pillow's pixels, whatever the crop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from throughput.contracts import Augmentation, Crop, Source, Split, Work
from throughput.measure.feed import Feed
from throughput.pixels import render_batch
from throughput.registry import load_loader
from throughput.sources import open_source

COUNT, HEIGHT, WIDTH, SIZE = 30, 28, 34, 28
LOADERS = ("torchvision", "webdataset", "dali", "roi")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))


def opened(folder: Path, channels: int, labels: Any) -> Source:
    """Slanted ramps, each image another one, each channel another slope."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    shades = np.arange(COUNT)[:, None, None, None] * 2
    slopes = np.arange(1, channels + 1)
    images = shades + down[..., None] * slopes + across[..., None] * (5 - slopes)
    np.save(folder / "images.npy", images.clip(0, 255).astype(np.uint8))
    np.save(folder / "labels.npy", labels)
    return open_source(folder / "images.npy", labels=folder / "labels.npy")


def work_over(source: Source, split: Split, crop: Crop) -> Work:
    grey = (0.5,) * source.channels
    return Work(
        source,
        split,
        image_size=SIZE,
        channels=source.channels,
        batch_size=8,
        workers=2,
        mean=grey,
        std=grey,
        augmentation=Augmentation(crop=crop),
    )


CASES: list[tuple[int, Split, Crop]] = [
    (1, "train", "none"),
    (1, "val", "none"),
    (3, "train", "random"),
    (3, "val", "none"),
    (1, "train", "centre"),
    (3, "val", "centre"),
]


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize(("channels", "split", "crop"), CASES)
def test_a_loader_delivers_the_pixels_of_an_array(
    tmp_path: Path, name: str, channels: int, split: Split, crop: Crop
) -> None:
    source = opened(tmp_path, channels, np.arange(COUNT) % 3)
    work = work_over(source, split, crop)
    factory = load_loader(name)
    prepared = factory.prepare(work, factory.Options())
    came: list[int] = []
    with factory.open(prepared.work, factory.Options()) as loader:
        for batch in Feed(loader, prepared.work).epoch(0):
            ids = batch.ids.numpy()
            came += ids.tolist()
            wanted = render_batch(work, 0, ids, [source.read(int(sample)) for sample in ids]).astype(float)
            levels = 255 * (batch.images.double().permute(0, 2, 3, 1).numpy() * 0.5 + 0.5)
            assert np.abs(levels - wanted).max() < 1.01  # resizes round halves either way
            assert (batch.labels.numpy() == source.labels[ids]).all()
    assert sorted(came) == source.ids(split).tolist()


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_delivers_targets_and_any_split(tmp_path: Path, name: str) -> None:
    targets = np.random.default_rng(0).normal(size=(COUNT, 2)).astype(np.float32)
    parts = (np.arange(COUNT) % 3).astype(np.int8)
    source = opened(tmp_path, 1, targets).with_parts(parts)
    work = work_over(source, "train", "none")
    factory = load_loader(name)
    prepared = factory.prepare(work, factory.Options())
    came: list[int] = []
    with factory.open(prepared.work, factory.Options()) as loader:
        for batch in loader.epoch(0):
            came += batch.ids.tolist()
            np.testing.assert_array_equal(batch.labels.numpy(), targets[batch.ids.numpy()])
    assert sorted(came) == np.flatnonzero(parts == 0).tolist()


def test_whole_images_are_not_cropped(tmp_path: Path) -> None:
    """With ``none``, what comes is Pillow's resize of the whole image."""
    source = opened(tmp_path, 1, np.arange(COUNT) % 3)
    work = work_over(source, "val", "none")
    ids = source.ids("val")
    rendered = render_batch(work, 0, ids, [source.read(int(sample)) for sample in ids])
    images = np.load(tmp_path / "images.npy")[..., 0]
    for pixels, sample in zip(rendered, ids.tolist(), strict=True):
        whole = Image.fromarray(images[sample]).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        assert (pixels[..., 0] == np.asarray(whole)).all()
