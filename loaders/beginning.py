"""Where worker processes that persist begin anew, told in memory that they share with their parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from throughput.resuming import NOTHING, Delivered

if TYPE_CHECKING:
    from torch import Tensor


class Beginning:
    """The first epoch, and what was delivered of it. samples: of the source."""

    def __init__(self, samples: int) -> None:
        import torch

        self._samples = samples
        self._epoch = _shared(torch.zeros(1, dtype=torch.int64))
        self._has_marks = _shared(torch.zeros(2, dtype=torch.bool))
        self._marks = _shared(torch.zeros((2, -(-samples // 8)), dtype=torch.uint8))

    def set(self, first_epoch: int, delivered: Delivered) -> None:
        """In the parent, before workers are asked for the epoch."""
        self._epoch.fill_(first_epoch)
        for place, marks in enumerate((delivered.by_all, delivered.by_rank)):
            self._has_marks[place] = bool(len(marks))
            if len(marks):
                self._marks.numpy()[place] = np.packbits(marks)

    def get(self) -> tuple[int, Delivered]:
        """In a worker, once it is asked."""
        epoch = int(self._epoch)
        if not bool(self._has_marks.any()):
            return epoch, NOTHING
        by_all, by_rank = (
            np.unpackbits(packed, count=self._samples if known else 0).astype(np.bool_)
            for known, packed in zip(self._has_marks.tolist(), self._marks.numpy(), strict=True)
        )
        return epoch, Delivered(epoch, by_all, by_rank)


def _shared(tensor: Tensor) -> Tensor:
    shared: Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call] # torch types it not
    return shared
