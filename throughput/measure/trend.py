"""Whether repeated measurements drift: the rank test of Mann (1945) and Kendall (1975), exact for few."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

FEWEST = 4
"""Three values in order come by chance once in three times, up or down."""
SUSPECT_CHANCE = 0.1
"""Four values in order come by chance once in twelve times; no rarer limit could ever be met by four."""
SUSPECT_DRIFT = 0.1
"""From the first value to the last, as a share of the first: less is not worth a word."""
_MOST_EXACT = 30


def steady_trend(values: Sequence[float]) -> Literal["falling", "rising"] | None:
    """The direction in which values drift by more than SUSPECT_DRIFT and not by chance; None for neither."""
    if len(values) < FEWEST or abs(values[-1] - values[0]) <= SUSPECT_DRIFT * abs(values[0]):
        return None
    score = kendall_score(values)
    if score * (values[-1] - values[0]) <= 0 or chance_of(score, len(values)) > SUSPECT_CHANCE:
        return None
    return "rising" if score > 0 else "falling"


def kendall_score(values: Sequence[float]) -> int:
    """Pairs that rise less pairs that fall; ties count as neither."""
    return sum((later > earlier) - (later < earlier) for earlier, later in combinations(values, 2))


def chance_of(score: int, count: int) -> float:
    """How likely ``count`` values in random order score as far from 0 as ``score``, or further (two-sided).

    Exact for up to 30 values without ties (with ties it is too large, never too small); beyond, the
    normal approximation with Kendall's variance n (n - 1) (2n + 5) / 18 and the correction for continuity.
    """
    if score == 0:
        return 1.0
    if count > _MOST_EXACT:
        deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
        return 2 * statistics.NormalDist().cdf((1 - abs(score)) / deviation)
    # How many orders of n values have k pairs out of order: each value goes before 0 to n - 1 of the others.
    orders = [1]
    for values in range(2, count + 1):
        orders = [
            sum(orders[max(0, pairs - values + 1) : pairs + 1])
            for pairs in range(values * (values - 1) // 2 + 1)
        ]
    most_falling = (count * (count - 1) // 2 - abs(score)) // 2
    return min(1.0, 2 * sum(orders[: most_falling + 1]) / math.factorial(count))
