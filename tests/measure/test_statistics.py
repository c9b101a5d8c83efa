"""Intervals against the tables, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from throughput.measure.statistics import paired_ratio, rate_interval, student_t, unpaired_ratio


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
    assert student_t(degrees) == pytest.approx(quantile, rel=0.001)


def test_quantiles_fall_with_every_degree() -> None:
    quantiles = [student_t(degrees) for degrees in range(1, 200)]
    assert quantiles == sorted(set(quantiles), reverse=True)


def test_the_interval_of_two_pairs_by_hand() -> None:
    ratio = paired_ratio([2.0, 8.0], [1.0, 2.0])
    assert ratio.value == pytest.approx(math.sqrt(8))
    half = 12.706205 * (math.log(2) / math.sqrt(2)) / math.sqrt(2)
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


def test_a_fraction_of_a_degree_of_freedom_is_dropped() -> None:
    assert student_t(1.99) == student_t(1)
    assert student_t(3 - 1e-12) == student_t(3)
    with pytest.raises(ValueError, match="1 degree of freedom or more, got 0"):
        student_t(0)


def test_the_interval_of_two_passes_by_hand() -> None:
    low, high = rate_interval([100.0, 200.0])
    half = 12.706205 * (math.log(2) / math.sqrt(2)) / math.sqrt(2)
    assert math.log(low) == pytest.approx(math.log(math.sqrt(2) * 100) - half, rel=1e-4)
    assert math.log(high) == pytest.approx(math.log(math.sqrt(2) * 100) + half, rel=1e-4)


def test_a_single_pass_has_no_interval_and_a_pass_without_images_no_logarithm() -> None:
    assert rate_interval([]) is None
    assert rate_interval([100.0]) is None
    assert rate_interval([100.0, 0.0, 300.0]) == (0.0, 300.0)


@pytest.mark.parametrize("passes", [2, 3, 10])
def test_the_interval_of_a_rate_holds_the_truth_in_19_of_20_experiments(passes: int) -> None:
    rng = np.random.default_rng(passes)
    experiments = 2000
    held = 0
    for _ in range(experiments):
        low, high = rate_interval(list(500 * np.exp(rng.normal(0, 0.1, passes))))
        held += low <= 500 <= high
    assert abs(held / experiments - 0.95) < 5 * math.sqrt(0.95 * 0.05 / experiments)


def test_unpaired_runs_of_like_spread_have_all_degrees_of_freedom() -> None:
    ratio = unpaired_ratio([2.0, 8.0], [1.0, 4.0])
    assert ratio.value == pytest.approx(2)
    half = 4.30265 * math.log(4) / math.sqrt(2)  # n - 1 of both together are 2
    assert math.log(ratio.high / ratio.value) == pytest.approx(half, rel=1e-4)
    assert math.log(ratio.value / ratio.low) == pytest.approx(half, rel=1e-4)


def test_a_run_without_spread_leaves_the_degrees_of_freedom_of_the_other() -> None:
    ratio = unpaired_ratio([2.0, 2.0, 2.0], [1.0, 4.0])
    half = 12.706205 * (math.log(4) / math.sqrt(2)) / math.sqrt(2)
    assert math.log(ratio.high / ratio.value) == pytest.approx(half, rel=1e-4)
    same = unpaired_ratio([3.0, 3.0], [2.0, 2.0])
    assert same.low == same.value == same.high == pytest.approx(1.5)


def test_a_spread_too_small_to_be_squared_is_no_obstacle() -> None:
    ratio = unpaired_ratio([1.0, 1.0 + 2**-52], [1.0, 1.0])
    assert ratio.low <= 1 <= ratio.high


@pytest.mark.parametrize(
    ("passes", "spreads"), [((3, 3), (0.1, 0.1)), ((2, 5), (0.2, 0.02)), ((8, 3), (0.1, 0.02))]
)
def test_the_unpaired_interval_holds_the_truth_in_at_least_19_of_20_experiments(
    passes: tuple[int, int], spreads: tuple[float, float]
) -> None:
    rng = np.random.default_rng(passes)
    experiments = 2000
    held = 0
    for _ in range(experiments):
        a, b = (np.exp(rng.normal(0, spread, count)) for count, spread in zip(passes, spreads, strict=True))
        ratio = unpaired_ratio(list(1.2 * a), list(b))
        held += ratio.low <= 1.2 <= ratio.high
    assert held / experiments > 0.95 - 3 * math.sqrt(0.95 * 0.05 / experiments)


@pytest.mark.parametrize(("ours", "theirs"), [([], [1.0, 2.0]), ([1.0, 2.0], [1.0])])
def test_one_pass_against_many_has_no_interval(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="two rates or more"):
        unpaired_ratio(ours, theirs)


@pytest.mark.parametrize(
    ("degrees", "error", "quantile"),
    # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
    [(1, 0.01, 63.657), (2, 0.01, 9.925), (3, 0.01, 5.841), (5, 0.01, 4.032), (10, 0.02, 2.764),
     (4, 0.002, 7.173), (30, 0.002, 3.385), (100, 0.1, 1.660)],
)  # fmt: skip
def test_quantiles_of_other_errors(degrees: int, error: float, quantile: float) -> None:
    assert student_t(degrees, error) == pytest.approx(quantile, rel=0.001)
