"""The val checks: photos against Pillow and torchvision, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from throughput.certificate.coordinates import Boxes, fit_planes, read_boxes
from throughput.certificate.delivery import deliver
from throughput.certificate.images import OwnImages
from throughput.certificate.pixelwise import PixelComparison, likeness
from throughput.certificate.reference import decode, held_out_pixels
from throughput.certificate.rollcall import check_ids, check_labels
from throughput.certificate.values import (
    best_order,
    check_moment,
    check_order_of_channels,
    check_range,
    explain_scale,
)
from throughput.contracts import LoaderFactory, Source, Work
from throughput.errors import SourceError
from throughput.results import Check
from throughput.sources.shards import ShardSource
from throughput.sources.splits import NEITHER, VAL, parts_of


@dataclass(frozen=True)
class PixelLimits:
    """In grey levels of 0..255.

    mean, p99: of the absolute error over all held-out photos; worst: one photo's mean.
    textured: of a train crop's mean absolute error, nine of ten keep to it.
    """

    mean: float
    p99: float
    worst: float
    textured: float

    def wider_by(self, levels: float) -> PixelLimits:
        """Each of them so much larger."""
        return PixelLimits(*(limit + levels for limit in astuple(self)))


CPU_LIMITS = PixelLimits(mean=1.0, p99=4.0, worst=1.5, textured=0.8)
"""What decoders built on libjpeg-turbo reach, whichever resizes for them."""
GPU_LIMITS = PixelLimits(mean=2.0, p99=8.0, worst=4.0, textured=1.6)
"""nvJPEG has an inverse DCT and a chroma upsampling of its own, and a GPU resizes in float with rounding of
its own: single pixels at coloured edges of 4:2:0 photos lie further off, means do not."""
CROP_LIMIT = 0.5
"""In pixels of the crop: a shift by one pixel is seen."""


def limits_for(decoder: Literal["cpu", "gpu"] | None) -> PixelLimits:
    """The pixel limits of a decoder."""
    return GPU_LIMITS if decoder == "gpu" else CPU_LIMITS


def to_levels(images: torch.Tensor, work: Work) -> NDArray[np.float32]:
    """Ready images, (N, C, S, S) normalised, in grey levels on the host: (N, S, S, C)."""
    scale, shift = (255 * np.array(values, np.float32) for values in (work.std, work.mean))
    host = images.float().cpu().permute(0, 2, 3, 1).numpy()
    return np.asarray(host * scale + shift)


def held_out_checks(
    factory: LoaderFactory, options: Any, work: Work, own: OwnImages, limits: PixelLimits
) -> list[Check]:
    """All val checks. Raises BrokenError and UnknownIdsError."""
    size, channels, source, whole = work.image_size, work.channels, work.source, not work.centred
    photos = PixelComparison(channels)
    turned: list[bool] = []
    coordinates: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    scale = torch.tensor(work.std).view(-1, 1, 1)
    shift = torch.tensor(work.mean).view(-1, 1, 1)

    def look(images: torch.Tensor, ids: NDArray[np.int64]) -> None:
        for sample, levels, ready in zip(ids.tolist(), to_levels(images, work), images, strict=True):
            if sample >= len(own.images) or own.images[sample].split != "val":
                continue
            one = own.images[sample]
            image = decode(source.read(sample), channels)
            wanted = held_out_pixels(image, size, whole=whole)
            if one.kind == "coordinates":
                theirs = torch.from_numpy(wanted.copy()).permute(2, 0, 1) / 255
                coordinates.append((sample, ready.float().cpu().clone(), (theirs - shift) / scale))
                continue
            if one.orientation != 1:
                upright = decode(source.read(sample), channels, turned=True)
                upright_pixels = held_out_pixels(upright, size, whole=whole)
                turned.append(likeness(levels, upright_pixels) > max(0.9, likeness(levels, wanted) + 0.1))
                if turned[-1]:
                    continue
            photos.add(sample, levels, wanted)

    delivery = deliver(factory, options, work, [0], look)
    checks = [
        Check("val.shape", True, f"images come as (N, {channels}, {size}, {size})"),
        Check("val.dtype", True, f"images come as {', '.join(sorted(delivery.dtypes))}, labels as int64"),
        check_ids("val.ids", source, source.ids("val"), delivery),
        check_labels("val.labels", source, delivery.epochs),
    ]
    if not photos.ids or not coordinates:
        return checks  # too few ids came, and that is told
    checks.append(_check_orientation(turned))
    checks += pixel_checks("val", photos, work, limits, source.read)
    if all(check.ok for check in checks if check.name in ("val.range", "val.channels", "val.content")):
        checks.append(_check_crop(coordinates, own, work))
    return checks


def pixel_checks(
    prefix: str,
    photos: PixelComparison,
    work: Work,
    limits: PixelLimits,
    read: Callable[[int], bytes],
) -> list[Check]:
    """Content, channels, scale and errors of images that were compared; what cannot be judged is left out."""
    strangers = photos.strangers
    words = "each id comes with its own pixels"
    if strangers:
        one, other = strangers[0]
        words = f"{len(strangers)} ids come with another image's pixels, such as {one} with those of {other}"
    content = Check(f"{prefix}.content", not strangers, words, float(len(strangers)), 0.0)
    if len(strangers) > len(photos.ids) // 4:
        return [content]
    # The user's own images may be grey from the start.
    delivered_greyness, true_greyness = photos.greyness
    grey = photos.channels == 3 and delivered_greyness > 0.9999 and true_greyness < 0.999
    order = best_order(photos.correlations)
    checks = [content]
    if photos.channels == 3:
        checks.append(check_order_of_channels(f"{prefix}.channels", order, grey=grey))
        if not checks[-1].ok:
            return checks
    ours, theirs = photos.stds
    gain = ours / np.maximum(theirs, 1e-9)
    offset = photos.means[0] - gain * photos.means[1]
    low, high, wanted_low, wanted_high = photos.extremes
    how = explain_scale(gain, offset, work.mean, work.std)
    checks += [
        check_range(f"{prefix}.range", (low, high), (wanted_low, wanted_high), how),
        check_moment(f"{prefix}.mean", "mean", *photos.means),
        check_moment(f"{prefix}.std", "standard deviation", *photos.stds),
    ]
    if not checks[-3].ok:
        return checks
    found = _likeliest_way(photos, work, read)
    worst = max(photos.errors)
    for name, value, limit, what in (
        ("error_mean", photos.error_mean, limits.mean, "the mean absolute pixel error"),
        ("error_p99", photos.error_p99, limits.p99, "the 99th percentile of the pixel error"),
        ("error_worst", worst, limits.worst, "the mean absolute pixel error of the worst image"),
    ):
        words = f"{what} is {value:.2f} grey levels"
        ok = value <= limit
        checks.append(Check(f"{prefix}.{name}", ok, words if ok else words + found(), value, limit))
    return checks


def _likeliest_way(photos: PixelComparison, work: Work, read: Callable[[int], bytes]) -> Callable[[], str]:
    """Words for what the worst image's pixels agree with, looked for only where they are needed."""

    def found() -> str:
        assert photos.worst is not None
        sample, delivered, wanted = photos.worst
        image = decode(read(sample), work.channels)
        candidates = {
            f"a resize with {way}": held_out_pixels(image, work.image_size, way, whole=not work.centred)
            for way in ("no antialiasing", "nearest", "bicubic", "box", "lanczos", "hamming")
        }
        candidates["the mirror image"] = wanted[:, ::-1]
        candidates["the image upside down"] = wanted[::-1]
        for right, down in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)):
            where = " and ".join(
                f"1 px {word}" for word in (("", "right", "left")[right], ("", "down", "up")[down]) if word
            )
            candidates[f"the image moved {where}"] = np.roll(wanted, (down, right), (0, 1))
        inner = slice(2, -2)
        errors = {
            words: float(np.abs(delivered - pixels)[inner, inner].mean())
            for words, pixels in candidates.items()
        }
        best = min(errors, key=lambda words: errors[words])
        own = float(np.abs(delivered - wanted)[inner, inner].mean())
        return f": it agrees better with {best} ({errors[best]:.2f})" if errors[best] < own / 2 else ""

    return found


def _check_orientation(turned: list[bool]) -> Check:
    wrong = sum(turned)
    words = f"{len(turned)} photos with an EXIF orientation come as they are stored"
    if wrong:
        words = (
            f"{wrong} of {len(turned)} photos with an EXIF orientation are turned; "
            "the work leaves them as stored"
        )
    return Check("val.orientation", wrong == 0, words, float(wrong), 0.0)


def _check_crop(
    coordinates: list[tuple[int, torch.Tensor, torch.Tensor]], own: OwnImages, work: Work
) -> Check:
    """Where the held-out crop lies, read off images that encode their coordinates."""
    images = [own.images[sample].coordinates for sample, _, _ in coordinates]
    known = [image for image in images if image is not None]

    def boxes(place: int) -> Boxes:
        stacked = torch.stack([one[place] for one in coordinates])  # type: ignore[misc] # 1 and 2 are tensors
        return read_boxes(fit_planes(stacked, work.mean, work.std), known)

    ours, theirs = boxes(1), boxes(2)
    right, down = (work.image_size / theirs.width, work.image_size / theirs.height)
    offsets = {
        "left edge": float(np.median((ours.left - theirs.left) * right)),
        "right edge": float(np.median((ours.left + ours.width - theirs.left - theirs.width) * right)),
        "upper edge": float(np.median((ours.top - theirs.top) * down)),
        "lower edge": float(np.median((ours.top + ours.height - theirs.top - theirs.height) * down)),
    }
    edge = max(offsets, key=lambda name: abs(offsets[name]))
    crop = "centre crop" if work.centred else "image"
    words = f"the {crop}'s {edge} lies {offsets[edge]:+.2f} px from the reference's"
    if ours.mirror.any() or ours.upside_down.any():
        return Check("val.crop", False, "the held-out images come mirrored or upside down")
    return Check("val.crop", abs(offsets[edge]) <= CROP_LIMIT, words, abs(offsets[edge]), CROP_LIMIT)


def _with_few_held_out(source: Source, most_images: int) -> Source:
    """The source with some of its held-out images, evenly spread; as it is where its kind cannot do that.

    Shards stay as they are too: one that reads them in sequence would have to read them all.
    """
    held_out = source.ids("val")
    if len(held_out) <= most_images or isinstance(source, ShardSource):
        return source
    parts = parts_of(source)
    parts[held_out] = NEITHER
    parts[held_out[np.linspace(0, len(held_out) - 1, most_images).astype(np.int64)]] = VAL
    try:
        return source.with_parts(parts)
    except SourceError:
        return source


def data_checks(
    factory: LoaderFactory, options: Any, work: Work, limits: PixelLimits, most_images: int
) -> list[Check]:
    """The user's own held-out images: labels, ids, pixels. Empty where no image is held out.

    Of many, ``most_images`` from the first to the last of them, so that every class has its turn. Raises
    BrokenError and UnknownIdsError.
    """
    if not len(work.source.ids("val")):
        return []
    source = _with_few_held_out(work.source, most_images)
    work = replace(work, source=source)
    held_out = source.ids("val")
    images = PixelComparison(work.channels)
    expected = set(held_out.tolist())

    def look(ready: torch.Tensor, ids: NDArray[np.int64]) -> None:
        wanted = [place for place, sample in enumerate(ids.tolist()) if sample in expected]
        wanted = wanted[: max(0, most_images - len(images.ids))]
        for place, levels in zip(wanted, to_levels(ready[wanted], work), strict=True):
            image = decode(source.read(int(ids[place])), work.channels)
            wanted_pixels = held_out_pixels(image, work.image_size, whole=not work.centred)
            images.add(int(ids[place]), levels, wanted_pixels)

    delivery = deliver(
        factory,
        options,
        replace(work, batch_size=min(work.batch_size, max(1, most_images))),
        [0],
        look,
        most_samples=most_images,
    )
    checks = [
        check_ids("data.ids", source, held_out, delivery),
        check_labels("data.labels", source, delivery.epochs),
    ]
    if images.ids:
        checks += pixel_checks("data", images, work, limits, source.read)
    return checks
