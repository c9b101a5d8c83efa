"""Whether samples come with their own labels: counted where the labels lie, so that nobody waits."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


class Labels:
    """Counts samples whose label is not the one that the source has for their id.

    of_source: (N,) int64 classes, or (N,) or (N, K) float32 targets, by id.
    """

    def __init__(self, of_source: NDArray[Any]) -> None:
        self._of_source = torch.from_numpy(of_source)
        self._wrong: Tensor | int = 0

    def add(self, ids: Tensor, labels: Tensor) -> None:
        """A batch: ids (N,) int64 on the host, labels on any device; what is no id is passed over."""
        known = (ids >= 0) & (ids < len(self._of_source))
        if not bool(known.all()):
            ids, labels = ids[known], labels[known.to(labels.device)]
        if not len(ids):
            return
        own = self._of_source[ids].to(labels.device, non_blocking=True)
        differs = (labels != own) if own.shape == labels.shape else torch.ones(len(ids), dtype=torch.bool)
        self._wrong = self._wrong + differs.reshape(len(ids), -1).any(dim=1).sum()

    def wrong(self) -> int:
        """How many so far; waits for the device."""
        return int(self._wrong)
