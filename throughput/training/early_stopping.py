"""Stop when images that take no part in training are told no better any more; keep the best weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from throughput.contracts import Source
from throughput.errors import OptionError
from throughput.sources.splits import NEITHER, TRAIN, VAL, seeded_validation

WATCHED_SHARE = 0.1
"""Of each class of the train split."""


def with_watched(source: Source) -> Source:
    """The train split parted in two: what is trained on, and, as ``val``, what is watched.

    The held-out images are in neither. The same images are watched in every run. Raises OptionError where
    every class has one image only.
    """
    train = source.ids("train")
    parts = np.full(len(source.labels), NEITHER, np.int8)
    parts[train] = TRAIN
    parts[train[seeded_validation(source.labels[train], WATCHED_SHARE)]] = VAL
    if not (parts == VAL).any():
        raise OptionError("--patience needs images to watch, and no class has two: leave it out")
    return source.with_parts(parts)


@dataclass(frozen=True)
class Watch:
    """What early stopping knows. patience: epochs without a lower loss that it bears.

    best_epoch: the one with the lowest loss; -1 before the first. best_weights: those after it.
    """

    patience: int
    best_loss: float = float("inf")
    best_epoch: int = -1
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.patience, int) or self.patience < 1:
            raise OptionError(f"--patience must be a whole number of 1 or more, got {self.patience!r}")

    def after(self, epoch: int, loss: float, weights: dict[str, Tensor]) -> Watch:
        """What is known after an epoch; ``weights`` are kept as they are, so they must not change."""
        if loss < self.best_loss:
            return replace(self, best_loss=loss, best_epoch=epoch, best_weights=weights)
        return self

    def is_over(self, epoch: int) -> bool:
        """Whether the patience has run out with this epoch."""
        return epoch - self.best_epoch >= self.patience
