"""Two ways of doing the same work, measured in turn: what drifts on the machine hits both alike."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator

from throughput.measure.statistics import Ratio, paired_ratio

Images = Iterator[int]
"""Images that became ready with each step, without end."""


def rate(images: Images, settle_steps: int, steps: int) -> float:
    """Images per second over ``steps``, once what was prefetched in idle time has been used up."""
    for _ in range(settle_steps):
        next(images)
    begin = time.perf_counter()
    total = sum(itertools.islice(images, steps))
    return total / (time.perf_counter() - begin)


def compare(ours: Callable[[], float], theirs: Callable[[], float], pairs: int) -> Ratio:
    """Measure both arms ``pairs`` times, the order turned about each time; their paired ratio."""
    rates: tuple[list[float], list[float]] = ([], [])
    arms = (ours, theirs)
    for arm in arms:  # the first time, workers start and pages are touched: not what is compared
        arm()
    for number in range(pairs):
        # A B, B A, A B: each arm comes first, and after itself, as often as the other.
        for arm in (0, 1) if number % 2 == 0 else (1, 0):
            rates[arm].append(arms[arm]())
        print(f"  pair {number + 1}/{pairs}: {rates[0][-1]:,.0f} and {rates[1][-1]:,.0f}", file=sys.stderr)
    return paired_ratio(*rates)
