"""Samples told of ahead, to a source that is far away; one that is near costs nothing more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Source

Item = TypeVar("Item")
CHUNK = 32
"""Samples of a stream that are told of together: their neighbourhood makes one request of them."""


def told_ahead(
    source: Source, items: Iterable[Item], ids_of: Callable[[Item], NDArray[np.int64]]
) -> Iterator[Item]:
    """The items as they come; ``source`` hears of the samples of each long before it is handed out.

    ids_of: an item's samples, (M,) int64.
    """
    return _told(source, iter(items), ids_of) if source.ahead_bytes() else iter(items)


def _told(
    source: Source, items: Iterator[Item], ids_of: Callable[[Item], NDArray[np.int64]]
) -> Iterator[Item]:
    ahead_bytes = source.ahead_bytes()
    mean_bytes = source.encoded_bytes() / max(1, len(source.labels))
    waiting: deque[tuple[Item, float]] = deque()
    told_bytes = 0.0
    for item in items:
        ids = ids_of(item)
        source.expect(ids)
        waiting.append((item, mean_bytes * len(ids)))
        told_bytes += waiting[-1][1]
        while waiting and told_bytes - waiting[0][1] >= ahead_bytes:
            due, size_bytes = waiting.popleft()
            told_bytes -= size_bytes
            yield due
    for due, _ in waiting:
        yield due


def ids_told_ahead(source: Source, runs: Iterable[NDArray[np.int64]]) -> Iterator[int]:
    """The ids of ``runs`` one by one, told of ahead in chunks."""
    chunks = (ids[begin : begin + CHUNK] for ids in runs for begin in range(0, len(ids), CHUNK))
    return (sample for ids in told_ahead(source, chunks, lambda ids: ids) for sample in ids.tolist())
