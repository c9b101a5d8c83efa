"""Intervals against the tables, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from throughput.measure.statistics import paired_ratio, student_t95


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [
        (1, 12.706),
        (2, 4.303),
        (5, 2.571),
        (10, 2.228),
        (30, 2.042),
        (40, 2.021),
        (60, 2.000),
        (120, 1.980),
        (10**6, 1.960),
    ],
)
def test_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert student_t95(degrees) == pytest.approx(quantile, rel=0.001)


def test_quantiles_fall_with_every_degree() -> None:
    quantiles = [student_t95(degrees) for degrees in range(1, 200)]
    assert quantiles == sorted(set(quantiles), reverse=True)


def test_the_interval_of_two_pairs_by_hand() -> None:
    ratio = paired_ratio([2.0, 8.0], [1.0, 2.0])
    assert ratio.value == pytest.approx(math.sqrt(8))
    half = 12.706 * (math.log(2) / math.sqrt(2)) / math.sqrt(2)
    assert math.log(ratio.high / ratio.value) == pytest.approx(half)
    assert math.log(ratio.value / ratio.low) == pytest.approx(half)


def test_what_slows_both_halves_of_a_pair_cancels() -> None:
    weather = [1.0, 0.1, 7.0, 3.0]
    ratio = paired_ratio([1.5 * factor for factor in weather], weather)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.5, 1.5, 1.5))


def test_the_inverse_ratio_has_the_inverse_interval() -> None:
    ours, theirs = [5.0, 6.0, 7.5], [4.0, 4.5, 7.0]
    there, back = paired_ratio(ours, theirs), paired_ratio(theirs, ours)
    assert (1 / back.value, 1 / back.high, 1 / back.low) == pytest.approx(
        (there.value, there.low, there.high)
    )


def test_the_interval_holds_the_truth_in_19_of_20_experiments() -> None:
    rng = np.random.default_rng(0)
    experiments = 2000
    held = 0
    for _ in range(experiments):
        noise = np.exp(rng.normal(0, 0.1, 5))
        ratio = paired_ratio(1.2 * noise, np.ones(5))
        held += ratio.low <= 1.2 <= ratio.high
    assert abs(held / experiments - 0.95) < 5 * math.sqrt(0.95 * 0.05 / experiments)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0]), ([1.0, 2.0], [1.0])])
def test_one_pair_has_no_interval(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="two pairs or more"):
        paired_ratio(ours, theirs)
