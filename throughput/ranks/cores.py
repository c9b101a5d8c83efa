"""The cores that ranks of one machine share, shared out."""

from __future__ import annotations

import os
from collections.abc import Sequence


def own_cores() -> frozenset[int]:
    """On which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def shares(ranks: Sequence[tuple[str, frozenset[int], int]]) -> list[int]:
    """How many cores each rank may count on, 1 or more.

    ranks: the machine of each, the cores on which it may run, and how many of these it could keep busy by
    itself (a quota may be less). A core on which several may run is shared evenly.
    """
    found = []
    for host, cores, usable in ranks:
        neighbours = [others for machine, others, _ in ranks if machine == host]
        own = sum(1 / sum(core in others for others in neighbours) for core in cores)
        found.append(max(1, int(own * usable / len(cores) + 1e-6)))
    return found
