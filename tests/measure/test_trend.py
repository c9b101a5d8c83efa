"""The rank test is exact, and says falling or rising only where chance does not."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from throughput.measure.trend import chance_of, kendall_score, steady_trend


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7])
def test_the_chance_is_that_of_all_orders(count: int) -> None:
    scores = [kendall_score(order) for order in permutations(range(count))]
    for score in set(scores):
        share = sum(abs(one) >= abs(score) for one in scores) / len(scores)
        assert chance_of(score, count) == pytest.approx(share)


def test_the_approximation_takes_over_where_the_exact_one_ends() -> None:
    # The variance of the score is n (n - 1) (2n + 5) / 18.
    for deviations in (1.0, 1.6, 2.5):
        exact = chance_of(round(deviations * (30 * 29 * 65 / 18) ** 0.5), 30)
        near = chance_of(round(deviations * (31 * 30 * 67 / 18) ** 0.5), 31)
        assert near == pytest.approx(exact, abs=0.01)


def test_ties_count_as_neither() -> None:
    assert kendall_score([1, 1, 1]) == 0
    assert kendall_score([1, 2, 2, 3]) == 5
    assert chance_of(0, 5) == 1


@pytest.mark.parametrize(
    ("values", "trend"),
    [
        ([100, 95, 90, 85], "falling"),
        ([100, 120, 140, 160, 155], "rising"),
        ([100, 98, 96, 94], None),  # too little
        ([100, 80, 60], None),  # too few
        ([100, 80, 95, 85], None),  # not steady
        ([100, 130, 120, 110], None),  # ends higher, and mostly falls
        ([100, 100, 100, 100], None),
        ([0, 0, 0, 0], None),
        ([100], None),
        ([], None),
    ],
)
def test_trends(values: list[float], trend: str | None) -> None:
    assert steady_trend(values) == trend


@pytest.mark.parametrize("count", [4, 5, 10, 40])
def test_noise_alone_is_seldom_called_a_trend(count: int) -> None:
    chance = random.Random(count)
    runs = [[chance.gauss(100, 30) for _ in range(count)] for _ in range(1000)]
    assert sum(steady_trend(values) is not None for values in runs) <= 120
