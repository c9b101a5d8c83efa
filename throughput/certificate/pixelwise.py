"""Delivered pixels against the reference's: errors, moments and likeness, gathered image by image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from throughput.certificate.reference import Pixels

Floats = NDArray[np.float64]
_BINS_PER_LEVEL = 8
_THUMB = 12


@dataclass
class PixelComparison:
    """Images in grey levels of 0..255 against uint8 references of the same shape, (S, S, C).

    ids: in the order of ``add``. errors: mean absolute error of each image.
    worst: id, delivered and reference pixels of the image with the largest error.
    """

    channels: int
    ids: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    worst: tuple[int, NDArray[np.float32], Pixels] | None = None

    def __post_init__(self) -> None:
        self._histogram = np.zeros(256 * _BINS_PER_LEVEL, np.int64)
        self._moments = np.zeros((2 * self.channels + 1, 2 * self.channels + 1))
        self._thumbs: list[tuple[Floats, Floats]] = []
        self.extremes = [np.inf, -np.inf, np.inf, -np.inf]

    def add(self, sample_id: int, delivered: NDArray[np.float32], reference: Pixels) -> None:
        """Compare one image."""
        theirs = reference.astype(np.float32)
        error = np.abs(delivered - theirs)
        self.ids.append(sample_id)
        self.errors.append(float(error.mean()))
        if self.worst is None or self.errors[-1] >= max(self.errors):
            self.worst = (sample_id, delivered.copy(), reference)
        binned = np.minimum(error * _BINS_PER_LEVEL, len(self._histogram) - 1).astype(np.int64)
        self._histogram += np.bincount(binned.ravel(), minlength=len(self._histogram))
        both = np.concatenate([delivered, theirs], axis=2).reshape(-1, 2 * self.channels)
        # Centred, so that float32 keeps the digits of a variance.
        both -= 127
        total = both.sum(0, dtype=np.float64)
        self._moments[1:, 1:] += both.T @ both
        self._moments[0, 1:] += total
        self._moments[1:, 0] += total
        self._moments[0, 0] += len(both)
        self._thumbs.append((_thumb(delivered), _thumb(theirs)))
        mine = np.percentile(delivered, (0.5, 99.5)), np.percentile(reference, (0.5, 99.5))
        for place, (choose, value) in enumerate(zip((min, max, min, max), (*mine[0], *mine[1]), strict=True)):
            self.extremes[place] = float(choose(self.extremes[place], value))

    @property
    def error_mean(self) -> float:
        """Mean absolute error over all pixels, in grey levels."""
        return float(np.mean(self.errors))

    @property
    def error_p99(self) -> float:
        """The error that 99 % of all pixels keep to, in grey levels."""
        below = np.cumsum(self._histogram)
        return float(np.searchsorted(below, 0.99 * below[-1]) + 1) / _BINS_PER_LEVEL

    @property
    def means(self) -> tuple[Floats, Floats]:
        """Channel means of the delivered and of the reference pixels, (C,) each."""
        means = self._moments[0, 1:] / self._moments[0, 0] + 127
        return means[: self.channels], means[self.channels :]

    @property
    def stds(self) -> tuple[Floats, Floats]:
        """Channel standard deviations, as ``means``."""
        stds = np.sqrt(np.maximum(np.diag(self._covariance), 0))
        return stds[: self.channels], stds[self.channels :]

    @property
    def correlations(self) -> Floats:
        """Of each delivered channel with each of the reference's, (C, C)."""
        stds = np.sqrt(np.maximum(np.diag(self._covariance), 1e-9))
        whole = self._covariance / stds / stds[:, None]
        return np.asarray(whole[: self.channels, self.channels :])

    @property
    def greyness(self) -> tuple[float, float]:
        """Smallest correlation of two delivered channels, and of two of the reference's; 1: all the same."""
        stds = np.sqrt(np.maximum(np.diag(self._covariance), 1e-9))
        whole = self._covariance / stds / stds[:, None]
        return (
            float(whole[: self.channels, : self.channels].min()),
            float(whole[self.channels :, self.channels :].min()),
        )

    @property
    def strangers(self) -> list[tuple[int, int]]:
        """(id, other id) of images that are clearly more like another image's reference than their own."""
        ours, theirs = (np.stack(thumbs) for thumbs in zip(*self._thumbs, strict=True))
        likeness = ours @ theirs.T
        own = np.diag(likeness)
        best = likeness.argmax(1)
        clearly = likeness.max(1) > own + 0.1
        return [(self.ids[place], self.ids[best[place]]) for place in np.flatnonzero(clearly)]

    @property
    def _covariance(self) -> Floats:
        count = self._moments[0, 0]
        means = self._moments[0, 1:] / count
        return np.asarray(self._moments[1:, 1:] / count - np.outer(means, means))


def likeness(delivered: NDArray[np.float32], reference: Pixels) -> float:
    """Correlation of two images seen small and in grey, -1..1, whatever was done to their values."""
    return float(_thumb(delivered) @ _thumb(reference.astype(np.float32)))


def _thumb(pixels: NDArray[np.float32]) -> Floats:
    """A small grey version of zero mean and unit length: unchanged by brightness, contrast and channels."""
    side = len(pixels)
    edges = np.linspace(0, side, min(_THUMB, side) + 1).astype(int)[:-1]
    grey = pixels.sum(2, dtype=np.float64)
    small = np.add.reduceat(np.add.reduceat(grey, edges, 0), edges, 1).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-9)
