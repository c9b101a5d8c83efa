"""Train crops as they were read off, and how many false alarms their checks may give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALSE_ALARM_RATE = 1e-4
"""Of a whole certificate: each of its comparisons may be wrong with probability ALPHA (Bonferroni)."""
STATISTICAL_CHECKS = 32
"""5 distributions, 2 x 3 tails of the area, 2 of the aspect, 3 of the flips, 1 of twins, 2 of epochs: 19;
4 of the angles and 6 of the noise; and 3 in reserve."""
ALPHA = FALSE_ALARM_RATE / STATISTICAL_CHECKS

ROOM = 4
"""Pixels that a crop must have to move in, for its position to say anything."""


@dataclass(frozen=True)
class Crops:
    """Crops on whole pixels. All arrays have N entries.

    steady: from the set of one size. epochs, ids: whose they are. sizes: (N, 2), width and height of the
    source image. boxes: (N, 4), left, top, width and height. mirror: bool.
    """

    steady: NDArray[np.bool_]
    epochs: NDArray[np.int64]
    ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    boxes: NDArray[np.int64]
    mirror: NDArray[np.bool_]

    @property
    def area(self) -> NDArray[np.float64]:
        """Share of the image that each crop keeps."""
        return np.asarray(self.boxes[:, 2:].prod(1) / self.sizes.prod(1))

    @property
    def log_aspect(self) -> NDArray[np.float64]:
        """Logarithm of width over height."""
        return np.asarray(np.log(self.boxes[:, 2] / self.boxes[:, 3]))

    def position(self, axis: int) -> NDArray[np.float64]:
        """0 at the left (0) or upper (1) edge, 1 at the other; NaN where there is hardly room to move."""
        room = self.sizes[:, axis] - self.boxes[:, 2 + axis]
        return np.where(room >= ROOM, self.boxes[:, axis] / np.maximum(room, 1), np.nan)
