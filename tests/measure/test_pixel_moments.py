"""Mean and deviation of a data set's own pixels, against NumPy over all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from throughput.errors import SampleError
from throughput.measure.pixel_moments import pixel_moments
from throughput.sources import open_source


def test_every_train_pixel_counts_alike_whatever_its_images_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train = []
    for split, count in (("train", 6), ("val", 3)):
        folder = tmp_path / split / "one"
        folder.mkdir(parents=True)
        for number in range(count):
            height, width = rng.integers(5, 60, 2)
            # The held-out images are brighter: they must not count.
            pixels = rng.integers(0, 100, (height, width, 3), np.uint8) + np.uint8(100 * (split == "val"))
            Image.fromarray(pixels).save(folder / f"{number}.png")
            train += [pixels.reshape(-1, 3)] * (split == "train")
    every = np.concatenate(train) / 255
    told: list[tuple[float, float | None]] = []
    moments = pixel_moments(
        open_source(tmp_path),
        progress=lambda text, done, total: told.append((done, total)),  # noqa: ARG005 - the words
    )
    assert (moments.images, moments.pixels) == (6, len(every))
    np.testing.assert_allclose(moments.mean, every.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, every.std(0), rtol=1e-12)
    assert told == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_grey_or_colour_as_asked_else_as_the_array_has_it(tmp_path: Path, channels: int | None) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 9), np.uint8)
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "y.npy", np.arange(20) % 2)
    source = open_source(tmp_path / "x.npy", labels=tmp_path / "y.npy")
    moments = pixel_moments(source, channels)
    wanted = images[source.ids("train")] / 255
    assert moments.images == 16
    np.testing.assert_allclose(moments.mean, [wanted.mean()] * (channels or 1), rtol=1e-12)
    np.testing.assert_allclose(moments.std, [wanted.std()] * (channels or 1), rtol=1e-12)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(folder / "c.png")
    with pytest.raises(SampleError, match=r"b\.png"):
        pixel_moments(open_source(tmp_path).with_parts(np.zeros(3, np.int8)))
