"""The reference: Pillow decodes, torchvision transforms. Nothing here shares code with the loaders."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from throughput.contracts import Augmentation
from throughput.sources.names import IMAGE_FORMATS

Pixels = NDArray[np.uint8]


def decode(encoded: bytes, channels: int, *, turned: bool = False) -> Image.Image:
    """An image as RGB or grey; 16-bit grey keeps its upper bits. ``turned``: its EXIF orientation applied."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image: Image.Image = Image.open(io.BytesIO(encoded), formats=IMAGE_FORMATS)
        if turned:
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert("RGB" if channels == 3 else "L")


def held_out_pixels(image: Image.Image, size: int, way: str = "bilinear", *, whole: bool = False) -> Pixels:
    """Resize(size * 8/7) and CenterCrop(size) of a decoded image by torchvision: (size, size, C) uint8.

    whole: Resize((size, size)) in place of that.
    way: the interpolation, or ``no antialiasing``, to find out what a loader does instead.
    """
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    shorter = (size, size) if whole else round(size * 8 / 7)
    if way == "no antialiasing":
        import torch

        tensor = torch.from_numpy(np.array(as_array(image))).permute(2, 0, 1)
        crop = CenterCrop(size)(Resize(shorter, antialias=False)(tensor))
        return np.asarray(crop.permute(1, 2, 0).numpy())
    resize = Resize(shorter, InterpolationMode(way))
    return as_array(CenterCrop(size)(resize(image)))


def cropped_pixels(
    image: Image.Image,
    box: tuple[int, int, int, int],
    size: int,
    *,
    mirror: bool,
    upside_down: bool,
    way: str = "bilinear",
) -> Pixels:
    """Crop to (left, top, right, lower), resize and turn about: (size, size, C) uint8."""
    crop = image.crop(box)
    if way == "no antialiasing":
        import torch
        from torchvision.transforms.functional import resize

        tensor = torch.from_numpy(as_array(crop).copy()).permute(2, 0, 1)
        pixels = np.asarray(resize(tensor, [size, size], antialias=False).permute(1, 2, 0).numpy())
    else:
        pixels = as_array(crop.resize((size, size), Image.Resampling[way.upper()]))
    return pixels[:: -1 if upside_down else 1, :: -1 if mirror else 1]


def turned_pixels(pixels: Pixels, most_degrees: float) -> Pixels:
    """Turn (S, S, 3) as torchvision's RandomRotation does, by an angle from torch's global random stream."""
    from torchvision.transforms import InterpolationMode, RandomRotation
    from torchvision.transforms.functional import rotate

    degrees = RandomRotation.get_params([-most_degrees, most_degrees])
    # Of a Pillow image: torch would share each of these small ones out among threads.
    return as_array(rotate(Image.fromarray(pixels), degrees, InterpolationMode.BILINEAR))


def as_array(image: Image.Image) -> Pixels:
    """(H, W, C) uint8."""
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def draw_crops(sizes: NDArray[np.int64], augmentation: Augmentation, seed: int) -> NDArray[np.int64]:
    """Boxes (left, top, width, height) by torchvision's own transforms: (N, 4) for ``sizes`` (N, 2).

    ``sizes`` are (width, height) in pixels. The global random state is left as it was.
    """
    import torch
    from torchvision.transforms import RandomCrop, RandomResizedCrop

    def draw(image: torch.Tensor, width: int, height: int) -> tuple[int, int, int, int]:
        """Top, left, height and width."""
        side = round(min(width, height) * 7 / 8)
        match augmentation.crop:
            case "resized":
                return RandomResizedCrop.get_params(image, scale, ratio)  # type: ignore[no-any-return] # untyped
            case "random":
                return RandomCrop.get_params(image, (side, side))  # type: ignore[no-any-return] # untyped
            case "centre":  # as center_crop places it
                return round((height - side) / 2.0), round((width - side) / 2.0), side, side
            case "none":
                return 0, 0, height, width

    images: dict[tuple[int, int], Any] = {}
    boxes = np.empty((len(sizes), 4), np.int64)
    scale, ratio = list(augmentation.area), list(augmentation.aspect)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for place, (width, height) in enumerate(sizes.tolist()):
            # Only its size is looked at: one number stands for all pixels.
            image = images.setdefault((width, height), torch.zeros(1).expand(3, height, width))
            top, left, tall, wide = draw(image, width, height)
            boxes[place] = left, top, wide, tall
    return boxes
