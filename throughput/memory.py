"""Memory for batches that is used again: fresh memory costs more in page faults than filling it does."""

from __future__ import annotations

import sys

import numpy as np
import torch
from numpy.typing import NDArray

_probe = [np.empty(0)]
_FREE = sys.getrefcount(_probe[0])
"""References that an array has which only a list holds, as this Python counts them."""
_MOST_HELD_BYTES = 64 * 2**20
"""What ``Room`` holds on to: what is larger takes so long to fill that its page faults matter little."""


class Room:
    """Memory for one thing after another, each of them of use until the next one comes."""

    def __init__(self) -> None:
        self._held = np.empty(0, np.uint8)

    def take(self, size_bytes: int) -> NDArray[np.uint8]:
        """(size_bytes,) uint8, contents undefined, valid until the next call."""
        if size_bytes > _MOST_HELD_BYTES:
            return np.empty(size_bytes, np.uint8)
        if len(self._held) < size_bytes:
            # A quarter more: things of about one size then need no other memory soon.
            self._held = np.empty(size_bytes + size_bytes // 4, np.uint8)
        return self._held[:size_bytes]


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
