"""Memory for batches that is used again: fresh memory costs more in page faults than filling it does."""

from __future__ import annotations

import sys

import numpy as np
import torch

_probe = [np.empty(0)]
_FREE = sys.getrefcount(_probe[0])
"""References that an array has which only a list holds, as this Python counts them."""


class ReusedMemory:
    """Hands out buffers; takes one back when nobody holds a tensor (or a view) over it any more.

    A tensor made by ``torch.from_numpy`` keeps a reference to its array for as long as its storage
    lives, so the array's reference count tells whether the buffer is free.
    """

    def __init__(self) -> None:
        self._buffers: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []

    def take(self, elements: int, dtype: torch.dtype) -> torch.Tensor:
        """(elements,) of ``dtype``, contents undefined, valid for as long as anybody refers to it."""
        needed = elements * dtype.itemsize
        for place in range(len(self._buffers)):
            if sys.getrefcount(self._buffers[place]) == _FREE and len(self._buffers[place]) >= needed:
                break
        else:
            # Smaller buffers that lie unused will not be asked for again: batches do not grow back and forth.
            self._buffers = [held for held in self._buffers if sys.getrefcount(held) > _FREE + 1]
            self._buffers.append(np.empty(needed, np.uint8))
            place = len(self._buffers) - 1
        return torch.from_numpy(self._buffers[place])[:needed].view(dtype)
