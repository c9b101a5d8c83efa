"""What a few repeated measurements can say, and how sure it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Two-sided quantiles of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook of Statistical
# Methods, 1.3.6.7.2), and the normal quantile: beyond 30 it is used, with Cornish and Fisher's first terms.
_STUDENT_T = {
    0.95: ((
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
        2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
        2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ), 1.959964),
    0.99: ((
        63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169,
        3.106, 3.055, 3.012, 2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845,
        2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750,
    ), 2.575829),
}  # fmt: skip


@dataclass(frozen=True)
class Ratio:
    """A ratio of two rates with its 95 % interval."""

    value: float
    low: float
    high: float


def rate_interval(rates: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a rate from a few repeated passes; None for a single one.

    Student's t on the logarithms. With the few passes that anybody waits for, the alternatives claim too
    much: a bootstrap of three values covers the truth in about 75 % of cases, and so do their smallest and
    largest as bounds of the median. Student's t holds what it says from two passes on, by being wide.
    """
    if len(rates) < 2:
        return None
    if min(rates) <= 0:
        return min(rates), max(rates)  # a pass without a countable image: there is no logarithm
    logs = [math.log(rate) for rate in rates]
    half = student_t(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    centre = statistics.fmean(logs)
    return math.exp(centre - half), math.exp(centre + half)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95) -> Ratio:
    """ours / theirs over pairs that were measured next to each other, with an interval of 95 or of 99 %.

    Student's t on the logarithms of the pairs' ratios: what slows both halves of a pair cancels, and a
    ratio and its inverse are treated alike. Needs two pairs or more; raises ValueError below.
    """
    if len(ours) != len(theirs) or len(ours) < 2:
        raise ValueError(f"an interval needs two pairs or more, got {len(ours)} and {len(theirs)} values")
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    centre = statistics.fmean(logs)
    half = student_t(len(logs) - 1, confidence) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(centre), math.exp(centre - half), math.exp(centre + half))


def student_t(degrees: float, confidence: float = 0.95) -> float:
    """The two-sided quantile of Student's t for 95 or 99 %; raises ValueError below one degree of freedom.

    Up to 30 a fraction of a degree is dropped, which makes the quantile larger and so the interval wider.
    """
    table, z = _STUDENT_T[confidence]
    whole = math.floor(degrees + 1e-9)  # a whole number that rounding has made a little smaller stays one
    if whole < 1:
        raise ValueError(f"Student's t needs 1 degree of freedom or more, got {degrees}")
    if whole <= len(table):
        return table[whole - 1]
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2


def unpaired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """ours / theirs of two runs that have nothing in common but what is compared, with a 95 % interval.

    Welch's t on the logarithms of the rates, with the degrees of freedom of Welch and Satterthwaite (Welch
    1947, Biometrika 34:28): the runs may differ in their spread and in their number of passes. The value
    is the ratio of the geometric means. Needs two rates or more on each side, all above 0; raises ValueError.
    """
    if min(len(ours), len(theirs)) < 2:
        raise ValueError(f"an interval needs two rates or more a side, got {len(ours)} and {len(theirs)}")
    sides = [[math.log(rate) for rate in rates] for rates in (ours, theirs)]
    centre = statistics.fmean(sides[0]) - statistics.fmean(sides[1])
    squared_errors = [statistics.variance(logs) / len(logs) for logs in sides]
    total = sum(squared_errors)
    half = 0.0
    if total > 0:
        parts = zip(squared_errors, sides, strict=True)
        # Shares of the total, as tiny squares would vanish.
        degrees = 1 / sum((error / total) ** 2 / (len(logs) - 1) for error, logs in parts)
        half = student_t(degrees) * math.sqrt(total)
    return Ratio(math.exp(centre), math.exp(centre - half), math.exp(centre + half))
