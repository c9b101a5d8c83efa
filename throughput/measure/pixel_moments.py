"""Mean and standard deviation of a data set's own pixels: what its images are normalised by."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Progress, Source, Work, no_progress
from throughput.errors import OptionError
from throughput.measure.environment import usable_cores
from throughput.pixels import decode_image, open_image
from throughput.threads import in_threads

_LEVELS = 256


@dataclass(frozen=True)
class PixelMoments:
    """mean, std: one number a channel, in 0..1, over all pixels. pixels: of all images together."""

    images: int
    pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def pixel_moments(
    source: Source, channels: int | None = None, progress: Progress = no_progress
) -> PixelMoments:
    """Of all pixels of the train split as they are decoded, before any resize, each pixel counting alike.

    channels: 1 (grey) or 3 (RGB); None: the source's. One pass; exact, whatever the order. Raises SampleError
    for an image that cannot be decoded, OptionError for a source without train images.
    """
    channels = source.channels if channels is None else channels
    ids = source.ids("train").tolist()
    if not ids:
        raise OptionError(f"{source.location} has no train images to compute a mean of")
    # How images are decoded is told by a work.
    counted = _counter(Work(source, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels))
    counts = np.zeros((channels, _LEVELS), np.int64)
    with closing(in_threads(counted, ids, usable_cores())) as histograms:
        for done, histogram in enumerate(histograms, start=1):
            counts += histogram
            progress("reading train images", done, len(ids))
    pixels = int(counts[0].sum())
    levels = np.arange(_LEVELS) / (_LEVELS - 1)
    mean = counts @ levels / pixels
    variance = (counts * (levels - mean[:, None]) ** 2).sum(1) / pixels
    return PixelMoments(len(ids), pixels, tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def _counter(work: Work) -> Callable[[int], NDArray[np.int64]]:
    """What counts an image's levels by channel, (C, 256) int64."""

    def counted(sample_id: int) -> NDArray[np.int64]:
        image = open_image(work, sample_id, work.source.read(sample_id))
        pixels = np.asarray(decode_image(work, sample_id, image)).reshape(-1, work.channels)
        return np.stack([np.bincount(channel, minlength=_LEVELS) for channel in pixels.T])

    return counted
