"""A journal of requests that all processes of a measurement write to, and what it adds up to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ENTRY = np.dtype([("begin", "<f8"), ("end", "<f8"), ("bytes", "<i8"), ("again", "<i4"), ("hits", "<i4")])


@dataclass(frozen=True)
class Reading:
    """What was read from servers. requests: failed ones among them. retries: requests made again.

    hits: blocks that lay in the cache when they were asked for. seconds: in which a request was under way.
    """

    bytes_read: int = 0
    requests: int = 0
    retries: int = 0
    hits: int = 0
    seconds: float = 0.0


def note_request(journal: str | None, begin: float, end: float, read_bytes: int, *, again: bool) -> None:
    """Add a request. begin, end: seconds of ``time.perf_counter``, which all processes of Linux share."""
    if journal is not None:
        _append(journal, (begin, end, read_bytes, int(again), 0))


def note_hits(journal: str | None, hits: int) -> None:
    """Add blocks that were in the cache."""
    if journal is not None and hits:
        _append(journal, (0.0, 0.0, 0, 0, hits))


def read_journal(journal: str) -> Reading:
    """All that was noted; nothing where nobody has noted anything."""
    path = Path(journal)
    if not path.exists():
        return Reading()
    data = path.read_bytes()
    entries = np.frombuffer(data[: len(data) // _ENTRY.itemsize * _ENTRY.itemsize], _ENTRY)
    requests = entries[entries["end"] > 0]
    return Reading(
        bytes_read=int(requests["bytes"].sum()),
        requests=len(requests),
        retries=int(requests["again"].sum()),
        hits=int(entries["hits"].sum()),
        seconds=_covered(requests["begin"], requests["end"]),
    )


def _append(journal: str, entry: tuple[float, float, int, int, int]) -> None:
    # Each is one write to the end of the file, which no other process comes in between (open(2), O_APPEND).
    descriptor = os.open(journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, np.array(entry, _ENTRY).tobytes())
    finally:
        os.close(descriptor)


def _covered(begins: NDArray[np.float64], ends: NDArray[np.float64]) -> float:
    """Length of the union of intervals."""
    if not len(begins):
        return 0.0
    order = np.argsort(begins)
    starts, reached = begins[order], np.maximum.accumulate(ends[order])
    gaps = np.maximum(0.0, starts[1:] - reached[:-1])
    return float(reached[-1] - starts[0] - gaps.sum())
