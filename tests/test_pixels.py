"""The canonical work in pixels against torchvision's functions, and what cannot be decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import functional as F

from throughput.canonical import draw_boxes
from throughput.contracts import Source, Split, Work
from throughput.errors import SampleError
from throughput.pixels import render_batch


@dataclass(frozen=True)
class Encoded(Source):
    """Encoded images in memory."""

    images: tuple[bytes, ...]
    location: str = "memory"
    classes: tuple[str, ...] = ("one",)
    fingerprint: str = "0"

    @property
    def labels(self) -> NDArray[np.int64]:  # type: ignore[override]
        return np.zeros(len(self.images), np.int64)

    def ids(self, split: Split) -> NDArray[np.int64]:  # noqa: ARG002 - both splits are the same
        return np.arange(len(self.images), dtype=np.int64)

    def read(self, sample_id: int) -> bytes:
        return self.images[sample_id]

    def describe(self, sample_id: int) -> str:
        return f"the image at place {sample_id}"

    def encoded_bytes(self) -> int:
        return sum(map(len, self.images))

    def files(self) -> tuple[Path, ...]:
        return ()


def encode(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **settings)
    return data.getvalue()


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def rendered(
    images: Sequence[bytes], split: Split = "val", epoch: int = 0, **changes: Any
) -> NDArray[np.uint8]:
    work = replace(Work(Encoded(tuple(images)), split, image_size=32, batch_size=8), **changes)
    return render_batch(work, epoch, work.source.ids(split), images)


@pytest.mark.parametrize("epoch", [0, 1])
def test_train_is_torchvisions_crop_and_mirror_of_the_drawn_boxes(epoch: int) -> None:
    rng = np.random.default_rng(1)
    images = [noise(int(rng.integers(20, 200)), int(rng.integers(20, 200)), seed) for seed in range(24)]
    encoded = [encode(image) for image in images]
    work = Work(Encoded(tuple(encoded)), image_size=32, batch_size=24)
    ids = work.source.ids("train")
    heights, widths = (np.array([getattr(image, side) for image in images]) for side in ("height", "width"))
    boxes = draw_boxes(work, epoch, ids, heights, widths)
    ours = render_batch(work, epoch, ids, encoded)
    assert 0 < boxes.mirror.sum() < 24, "both kinds are tested"
    for place, image in enumerate(images):
        top, left, height, width, mirror = (int(values[place]) for values in boxes)
        wanted = F.resized_crop(image, top, left, height, width, [32, 32], antialias=True)
        wanted = F.hflip(wanted) if mirror else wanted
        assert np.array_equal(ours[place], np.asarray(wanted)), f"image {place}"


def test_val_is_torchvisions_resize_and_centre_crop() -> None:
    images = [noise(50, 81), noise(101, 40), noise(37, 37)]
    for image, ours in zip(images, rendered([encode(image) for image in images]), strict=True):
        wanted = F.center_crop(F.resize(image, round(32 * 8 / 7), antialias=True), [32])
        assert np.array_equal(ours, np.asarray(wanted))


def test_pixels_do_not_depend_on_the_batch() -> None:
    encoded = [encode(noise(40 + seed, 60, seed), "JPEG") for seed in range(6)]
    work = Work(Encoded(tuple(encoded)), image_size=32, batch_size=6)
    together = render_batch(work, 4, np.arange(6), encoded)
    alone = render_batch(work, 4, np.array([3]), encoded[3:4])
    assert np.array_equal(together[3], alone[0])


def test_it_writes_into_the_memory_that_is_given() -> None:
    encoded = [encode(noise(40, 60))]
    work = Work(Encoded(tuple(encoded)), "val", image_size=32, batch_size=1)
    out = np.zeros((1, 32, 32, 3), np.uint8)
    assert render_batch(work, 0, np.array([0]), encoded, out) is out
    assert np.array_equal(out, rendered(encoded))


COLOUR = (200, 60, 20)


def flat(mode: str, value: Any) -> Image.Image:
    return Image.new(mode, (40, 50), value)


def palette() -> Image.Image:
    return flat("RGB", COLOUR).quantize(4)


def transparent_palette() -> bytes:
    return encode(palette(), transparency=0)


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (encode(palette()), COLOUR),
        (transparent_palette(), COLOUR),
        (encode(flat("RGBA", (*COLOUR, 0))), COLOUR),
        (encode(flat("LA", (77, 3))), (77, 77, 77)),
        (encode(flat("L", 77)), (77, 77, 77)),
        (encode(flat("1", 1)), (255, 255, 255)),
        (encode(flat("L", 77), "JPEG", quality=100), (77, 77, 77)),
        (encode(flat("CMYK", (0, 128, 255, 0)), "JPEG", quality=100), (255, 127, 0)),
        (encode(Image.fromarray(np.full((50, 40), 77 * 256 + 200, np.uint16))), (77, 77, 77)),
        (encode(flat("RGB", COLOUR), "WEBP", lossless=True), COLOUR),
        (encode(flat("RGB", COLOUR), "BMP"), COLOUR),
    ],
    ids=["P", "P+tRNS", "RGBA", "LA", "L", "1", "L jpeg", "CMYK", "16 bit", "webp", "bmp"],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_every_kind_of_image_becomes_rgb(data: bytes, colour: tuple[int, ...], split: Split) -> None:
    pixels = rendered([data], split)
    assert pixels.shape == (1, 32, 32, 3)
    assert np.abs(pixels.astype(int) - colour).max() <= 2


def test_grey_work_gets_one_channel_of_luma() -> None:
    grey = rendered([encode(flat("RGB", COLOUR))], channels=1, mean=(0.5,), std=(0.5,))
    assert grey.shape == (1, 32, 32, 1)
    assert np.abs(grey.astype(int) - round(0.299 * 200 + 0.587 * 60 + 0.114 * 20)).max() <= 1


def test_exif_rotation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = noise(40, 80)
    turned = encode(image, "JPEG", quality=95, exif=exif)
    assert np.array_equal(rendered([turned]), rendered([encode(image, "JPEG", quality=95)]))


WHOLE = encode(noise(60, 60), "JPEG")
WHOLE_PNG = encode(noise(60, 60))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        (WHOLE[: len(WHOLE) // 2], "damaged"),
        (WHOLE_PNG[: len(WHOLE_PNG) // 2], "damaged"),
        (b"\x00" * 1000, "not an image"),
        (b"<html>404 Not Found</html>", "not an image"),
        (WHOLE[:3], "not an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not"),
    ],
    ids=["empty", "truncated jpeg", "truncated png", "zeros", "html", "magic only", "png without header"],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_what_cannot_be_decoded_is_named(data: bytes, cause: str, split: Split) -> None:
    images = [WHOLE, WHOLE, data, WHOLE]
    with pytest.raises(SampleError, match=cause) as caught:
        rendered(images, split)
    assert caught.value.sample == "the image at place 2"
    assert str(caught.value).startswith("the image at place 2: ")


def test_an_image_of_absurd_size_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SampleError, match=r"place 0: .*exceeds limit"):
        rendered([WHOLE])


@pytest.mark.parametrize("shape", [(1, 30_000), (30_000, 1), (2, 20_000)])
def test_of_a_very_long_image_only_the_centre_is_made(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = encode(noise(*shape))
    made: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def counted(image: Image.Image, size: tuple[int, int], *options: Any, **more: Any) -> Image.Image:
        made.append(size)
        return resize(image, size, *options, **more)

    monkeypatch.setattr(Image.Image, "resize", counted)
    pixels = rendered([long], image_size=224)
    assert made == [(224, 224)]
    # At a smaller size the whole is made, and its centre is the same to rounding.
    made.clear()
    small = rendered([long], image_size=28)
    assert made != [(28, 28)]
    monkeypatch.setattr("throughput.pixels._MOST_RESIZED_PIXELS", 0)
    assert np.abs(rendered([long], image_size=28).astype(int) - small).max() <= 1
    assert pixels.shape == (1, 224, 224, 3)
