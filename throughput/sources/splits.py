"""Which samples are held out, where the data does not say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Source, Split
from throughput.errors import OptionError, SourceError

SPLIT_SEED = 20_260_101
"""Fixed: the held-out images of a source are the same in every run, whatever its options."""


HELD_OUT_SHARE = 0.1
"""Of images that bring no split of their own; arrays have another."""
TRAIN, VAL, NEITHER = 0, 1, 2
"""The parts of ``Source.with_parts``."""


def seeded_validation(
    labels: NDArray[np.int64] | NDArray[np.float32], share: float | None = None
) -> NDArray[np.bool_]:
    """True for the held-out samples: (N,) bool, the same for the same labels on every machine.

    share: held out of each class, HELD_OUT_SHARE by default. Of a class of n samples ``share * n`` are held
    out, halves rounded up: at least one and at most n - 1, so that a class of one sample stays in train.
    Targets, which are no classes, are held out as if all were of one class. Raises OptionError for a share
    that is not between 0 and 1.
    """
    share = HELD_OUT_SHARE if share is None else share
    if not 0 < share < 1:
        raise OptionError(
            f"the share that is held out (--split-fraction) must lie between 0 and 1, got {share!r}"
        )
    if labels.dtype.kind == "f":
        labels = np.zeros(len(labels), np.int64)
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


def split_ids(parts: NDArray[np.int8], split: Split) -> NDArray[np.int64]:
    """Ids of a split, (M,) int64 ascending, of a source whose parts are given as for ``with_parts``."""
    return np.flatnonzero(parts == (VAL if split == "val" else TRAIN)).astype(np.int64)


def parts_of(source: Source) -> NDArray[np.int8]:
    """Which part each sample of a source belongs to, (N,), as for ``with_parts``."""
    parts = np.full(len(source.labels), NEITHER, np.int8)
    parts[source.ids("train")] = TRAIN
    parts[source.ids("val")] = VAL
    return parts


def all_held_out(source: Source) -> Source:
    """Every image as if it were held out. Raises SourceError where the source's kind cannot be split so."""
    return source.with_parts(np.full(len(source.labels), VAL, np.int8))


def checked_parts(source: Source, parts: NDArray[np.int8]) -> NDArray[np.int8]:
    """``parts``, if they can be those of the source. Raises SourceError."""
    if parts.shape != (len(source.labels),) or not np.isin(parts, (TRAIN, VAL, NEITHER)).all():
        raise SourceError(
            f"parts must be one of {TRAIN}, {VAL}, {NEITHER} for each of the {len(source.labels)} samples of "
            f"{source.location}, got {parts.dtype} of shape {parts.shape}"
        )
    return parts.astype(np.int8)
