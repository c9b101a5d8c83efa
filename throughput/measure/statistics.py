"""What a few repeated measurements can say, and how sure it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


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
    return math.exp(centre - half), _exp(centre + half)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], error: float = 0.05) -> Ratio:
    """ours / theirs over pairs that were measured next to each other, with an interval that errs in
    ``error``.

    Student's t on the logarithms of the pairs' ratios: what slows both halves of a pair cancels, and a
    ratio and its inverse are treated alike. Needs two pairs or more; raises ValueError below.
    """
    if len(ours) != len(theirs) or len(ours) < 2:
        raise ValueError(f"an interval needs two pairs or more, got {len(ours)} and {len(theirs)} values")
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    centre = statistics.fmean(logs)
    half = student_t(len(logs) - 1, error) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(centre), math.exp(centre - half), _exp(centre + half))


def _exp(value: float) -> float:
    """Of a number so large that nothing is known, infinity."""
    return math.exp(value) if value < 700 else math.inf


def student_t(degrees: float, error: float = 0.05) -> float:
    """The two-sided quantile of Student's t: beyond it, to either side, lies a share ``error`` in all, 0..1.

    Algorithm 396 of Hill (1970, Communications of the ACM 13:619), whose error is below 0.1 %. A fraction of
    a degree is dropped, which makes the quantile larger and so an interval wider. Raises ValueError below one
    degree of freedom.
    """
    n = math.floor(degrees + 1e-9)  # a whole number that rounding has made a little smaller stays one
    if n < 1:
        raise ValueError(f"Student's t needs 1 degree of freedom or more, got {degrees}")
    if n == 1:
        return 1 / math.tan(error * math.pi / 2)
    if n == 2:
        return math.sqrt(2 / (error * (2 - error)) - 2)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * error) ** (2 / n)
    if y > 0.05 + a:
        x = statistics.NormalDist().inv_cdf(error / 2)
        y = x**2
        if n < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y**2)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (
            (n + 1) / (n + 2)
        ) + 1 / y
    return math.sqrt(n * y)


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
    return Ratio(_exp(centre), math.exp(centre - half), _exp(centre + half))
