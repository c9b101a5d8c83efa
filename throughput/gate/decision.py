"""Slower, not slower, or not known yet: what the pairs measured so far say.

The ratio of each pair is head's rate over base's, of two rounds that were measured next to each other.
Deciding as soon as an interval says enough means looking at it again and again, and each look is another
chance to be wrong: a 95 % interval, looked at after each pair, errs far more often than in 5 % of cases. So
it is looked at after each eighth of the pairs that there is time for, and the interval of an early look is
the wider, so that all looks together err in 5 %: the group-sequential bounds of O'Brien and Fleming (1979,
Biometrics 35:549), for eight looks, in Jennison and Turnbull, "Group Sequential Methods" (2000), table 2.3.
Their normal quantiles become Student's by the same probability.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from throughput.judgement import Decision
from throughput.measure.statistics import Ratio, paired_ratio

FEWEST_PAIRS = 4
_LEAST_ERROR = 1e-200
"""Of a first look among very many pairs, at which nobody can decide anything; 0 has no quantile."""
_LOOKS = 8
_BOUND = 2.12
"""2.072 for normal rates whose spread is known; a little more, as it is estimated from few pairs."""


def is_look(pairs: int, planned: int) -> bool:
    """Whether so many pairs of those planned are looked at."""
    looks = {max(FEWEST_PAIRS, math.ceil(planned * look / _LOOKS)) for look in range(1, _LOOKS + 1)}
    return pairs in looks


def error_at(pairs: int, planned: int) -> float:
    """The share of cases in which the interval of this look may err, 0..1; of the last one 0.034."""
    bound = _BOUND * math.sqrt(max(planned, pairs) / pairs)
    return max(_LEAST_ERROR, 2 * statistics.NormalDist().cdf(-bound))


def decide(
    base: Sequence[float], head: Sequence[float], least_ratio: float, planned: int
) -> tuple[Decision, Ratio]:
    """What two pairs or more say of head, images per second of each round, and its ratio to base.

    least_ratio: what head must reach of base's rate. planned: pairs, when nothing is decided before. Raises
    ValueError below two pairs.
    """
    ratio = paired_ratio(head, base, error_at(len(base), planned))
    if ratio.high < least_ratio:
        return "slower", ratio
    if ratio.low > least_ratio:
        return "not slower", ratio
    return "undecided", ratio
