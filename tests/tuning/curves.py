"""A machine whose speed is a known function of the settings, with a clock that only measuring moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product

from throughput.results import Pass
from throughput.tuning.configuration import Configuration
from throughput.tuning.space import Space
from throughput.tuning.trial import Outcome

Curve = Callable[[int, int], float]
"""Images per second from workers and prefetch."""
BATCH = 8


def configuration(workers: int, prefetch: int = 2) -> Configuration:
    held_bytes = 1000 * workers * (prefetch + 1)
    return Configuration(workers, BATCH, (("prefetch", prefetch),), held_bytes)


def space(
    workers: tuple[int, ...] = (1, 2, 3, 4), prefetches: tuple[int, ...] = (1, 2, 4, 8), start: int = 2
) -> Space:
    grid = tuple(configuration(*one) for one in product(workers, prefetches))
    return Space(configuration(start), grid, {})


class Machine:
    """Called as a search calls it. beside_seconds: of each block. noise: standard deviation of a rate's log.

    fails: why a configuration fails, by workers and prefetch. calls: every block's configuration and seconds.
    """

    def __init__(
        self,
        curve: Curve,
        *,
        beside_seconds: float = 1.0,
        noise: float = 0.0,
        seed: int = 0,
        fails: Callable[[int, int], str | None] = lambda _, __: None,
    ) -> None:
        self._curve = curve
        self._beside_seconds = beside_seconds
        self._noise = noise
        self._random = random.Random(seed)
        self._fails = fails
        self.now = 0.0
        self.longest_seconds = 0.0
        self.calls: list[tuple[Configuration, float]] = []

    def clock(self) -> float:
        return self.now

    def __call__(self, one: Configuration, seconds: float) -> Outcome:
        self.calls.append((one, seconds))
        workers, prefetch = one.workers, dict(one.options)["prefetch"]
        if (reason := self._fails(workers, prefetch)) is not None:
            self.now += self._beside_seconds
            return Outcome(None, reason)
        self.now += seconds + self._beside_seconds
        self.longest_seconds = max(self.longest_seconds, seconds + self._beside_seconds)
        # A thousand times as long as the clock goes: whole images are no coarser than the rate then.
        rate = self.rate(one) * self._random.lognormvariate(0.0, self._noise)
        return Outcome(Pass(round(rate * seconds * 1000), seconds * 1000, 0.0))

    def rate(self, one: Configuration) -> float:
        """Without noise."""
        return self._curve(one.workers, dict(one.options)["prefetch"])

    def share_of_best(self, one: Configuration, among: Space) -> float:
        """Its rate over the best of the grid's."""
        return self.rate(one) / max(map(self.rate, among.grid))
