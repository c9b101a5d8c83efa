"""Which samples are held out, where the data does not say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Split

SPLIT_SEED = 20_260_101
"""Fixed: the held-out images of a source are the same in every run, whatever its options."""


def seeded_validation(labels: NDArray[np.int64], share: float = 0.1) -> NDArray[np.bool_]:
    """True for the held-out samples: (N,) bool, the same for the same labels on every machine.

    Of a class of n samples ``share * n`` are held out, halves rounded up: at least one and at most
    n - 1, so that a class of one sample stays in train.
    """
    count = len(labels)
    held_out = np.zeros(count, dtype=np.bool_)
    if count == 0:
        return held_out
    # The raw stream of a bit generator never changes between NumPy versions; permutation() may.
    keys = np.random.PCG64(SPLIT_SEED).random_raw(count)
    order = np.lexsort((keys, labels))
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    quota = np.clip(np.floor(share * sizes + 0.5), 1, None)
    quota = np.minimum(quota, sizes - 1).astype(np.int64)
    rank = np.arange(count) - np.repeat(starts, sizes)
    held_out[order] = rank < np.repeat(quota, sizes)
    return held_out


def split_ids(validation: NDArray[np.bool_], split: Split) -> NDArray[np.int64]:
    """Ids of a split, (M,) int64 ascending, of a source whose held-out samples are marked True."""
    return np.flatnonzero(validation == (split == "val")).astype(np.int64)
