"""The canonical work in pixels, by Pillow: encoded images in, uint8 crops out.

Pillow's resize is the reference that torchvision's antialiased resize is defined by, so what comes
out here is what ``RandomResizedCrop`` or ``Resize`` + ``CenterCrop`` give on the same image.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from throughput.bad_samples import BadSamples, given
from throughput.canonical import Boxes, centre_crop, draw_boxes
from throughput.contracts import Fault, Work
from throughput.errors import SampleError
from throughput.sources.names import IMAGE_FORMATS

_MOST_RESIZED_PIXELS = 64_000_000
"""Of a val image as a whole. One a thousand times as wide as high has more: only its centre is made then,
which differs from that of the whole by rounding."""


def render_batch(
    work: Work,
    epoch: int,
    ids: NDArray[np.int64],
    encoded: Iterable[bytes],
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Decode and transform a batch: (N, S, S, C) uint8, written to ``out`` where given.

    Raises SampleError, which names the sample, where one cannot be decoded.
    """
    return render_sound(replace(work, on_error="raise"), epoch, ids, encoded, out)[0]


def render_sound(
    work: Work,
    epoch: int,
    ids: NDArray[np.int64],
    encoded: Iterable[bytes | SampleError],
    out: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.uint8], list[Fault]]:
    """The same, and its bad samples, whose images are undefined.

    encoded: for each sample its bytes, or why they cannot be read (``read_sample``). Raises SampleError for
    the first bad one where ``work.on_error`` says so.
    """
    size = work.image_size
    if out is None:
        out = np.empty((len(ids), size, size, work.channels), np.uint8)
    bad = BadSamples(work)
    opened: list[tuple[int, Image.Image]] = []
    for place, (sample, data) in enumerate(zip(ids.tolist(), encoded, strict=True)):
        with bad.noted(sample):
            opened.append((place, open_image(work, sample, given(data))))
    boxes = boxes_of(work, epoch, ids[[place for place, _ in opened]], [image for _, image in opened])
    opened.reverse()
    for number in range(len(opened)):
        # Popping frees each decoded image before the next one is decoded: a whole batch of them is large.
        place, image = opened.pop()
        with bad.noted(int(ids[place])):
            image = decode_image(work, int(ids[place]), image)
            out[place] = transform_image(work, image, boxes, number)
        del image
    return out, bad.faults


def open_image(work: Work, sample_id: int, data: bytes) -> Image.Image:
    """Read an image's header; its pixels are decoded later. Raises SampleError."""
    if not data:
        raise SampleError(work.source.describe(sample_id), "the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    except UnidentifiedImageError:
        raise SampleError(work.source.describe(sample_id), "not an image of a known type") from None
    except Exception as error:
        raise SampleError(work.source.describe(sample_id), f"not a readable image: {error}") from error


def require_pixels(work: Work, sample_id: int, height: int, width: int) -> None:
    """Raise SampleError for an image so large that Pillow refuses it (twice ``MAX_IMAGE_PIXELS``)."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > 2 * limit:
        cause = f"not a readable image: its {height * width} pixels exceed the limit of {2 * limit}"
        raise SampleError(work.source.describe(sample_id), cause)


def decode_image(work: Work, sample_id: int, image: Image.Image) -> Image.Image:
    """Decode to RGB or grey, as ``work.channels`` says; alpha is dropped. Raises SampleError."""
    mode = "RGB" if work.channels == 3 else "L"
    try:
        if image.mode == mode:
            image.load()  # convert() would copy the pixels once more
            return image
        if image.mode.startswith("I"):  # 16-bit grey: convert() would clip all above 255 to white
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert(mode)
    except Exception as error:
        raise SampleError(work.source.describe(sample_id), f"the image is damaged: {error}") from error


def boxes_of(work: Work, epoch: int, ids: NDArray[np.int64], images: Sequence[Image.Image]) -> Boxes | None:
    """The crops of opened images; None where ``work.centred``: that is a matter of the image's size."""
    if work.centred:
        return None
    heights = np.array([image.height for image in images], np.int64)
    widths = np.array([image.width for image in images], np.int64)
    return draw_boxes(work, epoch, ids, heights, widths)


def transform_image(work: Work, image: Image.Image, boxes: Boxes | None, place: int) -> NDArray[np.uint8]:
    """Crop, resize and mirror the image at ``place`` of its batch: (S, S, C) uint8, perhaps a view."""
    size = work.image_size
    if boxes is None:
        return _centre(image, size)
    top, left = int(boxes.top[place]), int(boxes.left[place])
    box = (left, top, left + int(boxes.width[place]), top + int(boxes.height[place]))
    # Cropped first: resize(box=...) would let pixels from beyond the crop into its edges.
    pixels = _pixels(image.crop(box).resize((size, size), Image.Resampling.BILINEAR))
    return pixels[:, ::-1] if boxes.mirror[place] else pixels


def _centre(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The val crop of a decoded image, (S, S, C) uint8."""
    crop = centre_crop(image.height, image.width, size)
    if crop.height * crop.width > _MOST_RESIZED_PIXELS:
        down, across = image.height / crop.height, image.width / crop.width
        box = (crop.left * across, crop.top * down, (crop.left + size) * across, (crop.top + size) * down)
        return _pixels(image.resize((size, size), Image.Resampling.BILINEAR, box))
    resized = image.resize((crop.width, crop.height), Image.Resampling.BILINEAR)
    return _pixels(resized.crop((crop.left, crop.top, crop.left + size, crop.top + size)))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, C) uint8 of a Pillow image."""
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
