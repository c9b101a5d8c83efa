"""What looks wrong about the batches of a pipeline that nobody can certify: said, not judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from throughput.contracts import Batch, Work

_BEYOND = 1.0
"""Normalised pixels lie within those of black and white; augmentations may reach a little further."""
_NOISE_DEVIATIONS = 6
"""So many standard deviations of noise no value of a few batches is beyond."""


def implausible(batches: Sequence[Batch], work: Work, samples_per_epoch: int) -> Iterator[str]:
    """Remarks on ready batches (normalised as the work asks) of a pipeline that takes no Work.

    samples_per_epoch: as the pipeline tells it, 0 where it does not.
    """
    labels = [int(one) for batch in batches for one in (batch.labels.min(), batch.labels.max())]
    classes = len(work.source.classes)
    if min(labels) < 0 or max(labels) >= classes:
        yield (
            f"labels run from {min(labels)} to {max(labels)} and --data has {classes} classes "
            f"(0 to {classes - 1}): they are off, or they are of other data"
        )
    pixels = [float(one) for batch in batches for one in (batch.images.min(), batch.images.max())]
    black = min(-mean / std for mean, std in zip(work.mean, work.std, strict=True))
    white = max((1 - mean) / std for mean, std in zip(work.mean, work.std, strict=True))
    reach = f"ready pixels reach from {min(pixels):.3g} to {max(pixels):.3g}"
    beyond = _BEYOND + _NOISE_DEVIATIONS * work.augmentation.noise / min(work.std)
    not_finite = sum(not math.isfinite(sum(pair)) for pair in zip(pixels[::2], pixels[1::2], strict=True))
    if not_finite:
        yield (
            f"{not_finite} of {len(batches)} batches hold pixels that are NaN or infinite: "
            "a model learns nothing from them"
        )
    elif min(pixels) < black - beyond or max(pixels) > white + beyond:
        yield (
            f"{reach}; normalised ones lie within {black:.1f} to {white:.1f}: "
            "divide by 255 before normalising, or yield uint8"
        )
    elif min(pixels) >= 0 and max(pixels) <= 1:
        yield f"{reach}: they are not normalised (yield uint8, and that is done for you)"
    images = len(work.source.ids("train"))
    if samples_per_epoch and not _is_share(samples_per_epoch, images, work):
        ranks = f" in {work.world_size} processes" if work.world_size > 1 else ""
        yield (
            f"an epoch of this pipeline holds {samples_per_epoch:,} images, and --data has {images:,} to "
            f"train on{ranks}: it reads others"
        )


def _is_share(samples: int, images: int, work: Work) -> bool:
    """Whether so many are this process's share of the images, perhaps without a smaller last batch."""
    shares = {images // work.world_size, -(-images // work.world_size)}
    # What is told where a smaller last batch is dropped (drop_last) are whole batches.
    shares |= {share // work.batch_size * work.batch_size for share in shares}
    return samples in shares
