"""How far two honest samples may lie apart: limits that hold with a stated probability.

Nothing here is an approximation that could be wrong in the tails: each limit comes from a bound, so an honest
loader fails a check with at most the probability that the check was given.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SMALLEST_KS_SAMPLE = 458
"""From this size on the bound of ``ks_limit`` is proved."""


def ks_distance(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Two-sample Kolmogorov-Smirnov distance: the largest gap between the two empirical distributions."""
    values = np.sort(np.concatenate([ours, theirs]))
    shares = (
        np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (ours, theirs)
    )
    return float(np.abs(next(shares) - next(shares)).max())


def ks_limit(size: int, probability: float) -> float:
    """The distance that two samples of ``size`` from one distribution exceed with at most ``probability``.

    P(sqrt(n / 2) D > M) <= 2 exp(-2 M^2) for n = m >= 458: Wei and Dudley, "Two-sample
    Dvoretzky-Kiefer-Wolfowitz inequalities", Statistics and Probability Letters 82, 2012. Ties only make
    it more cautious. Raises ValueError for a smaller size.
    """
    if size < SMALLEST_KS_SAMPLE:
        raise ValueError(f"the bound holds from {SMALLEST_KS_SAMPLE} values on, got {size}")
    return math.sqrt(math.log(2 / probability) / size)


def binomial_range(trials: int, share: float, probability: float) -> tuple[int, int]:
    """The smallest and the largest count that are no surprise: beyond each lies at most ``probability / 2``.

    Exact, by summing the binomial distribution's tails.
    """
    below = np.cumsum(_binomial(trials, share))
    above = np.cumsum(_binomial(trials, 1 - share))
    low = int(np.searchsorted(below, probability / 2, side="right"))
    high = trials - int(np.searchsorted(above, probability / 2, side="right"))
    return low, high


def count_range(size: int, theirs: int, probability: float) -> tuple[int, int]:
    """How many of our ``size`` values may lie in a tail in which ``theirs`` of the other ``size`` lie.

    Given their sum, the count on our side is hypergeometric, which is no wider than the binomial
    distribution with share 1/2 (Hoeffding 1963, theorem 4); so that one's tails bound it.
    """

    def surprising(ours: int) -> bool:
        low, high = binomial_range(ours + theirs, 0.5, probability)
        return not low <= ours <= high

    low = _first(lambda ours: not surprising(ours), 0, theirs)
    high = _first(surprising, theirs, size + 1) - 1
    return low, high


def _first(holds: object, low: int, high: int) -> int:
    """The first number in low..high from which on ``holds`` is true; ``high`` where it is for none before."""
    assert callable(holds)
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _binomial(trials: int, share: float) -> NDArray[np.float64]:
    """Probabilities of 0..trials successes, (trials + 1,)."""
    if share in (0.0, 1.0):
        certain = np.zeros(trials + 1)
        certain[int(share * trials)] = 1.0
        return certain
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    counts = np.arange(trials + 1)
    ways = factorials[trials] - factorials - factorials[::-1]
    probabilities: NDArray[np.float64] = np.exp(
        ways + counts * math.log(share) + (trials - counts) * math.log1p(-share)
    )
    return probabilities
