"""Limits that honest samples keep to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from throughput.certificate.chance import binomial_range, count_range, ks_distance, ks_limit


def test_the_distance_is_the_largest_gap_of_the_distributions() -> None:
    assert ks_distance(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 4])) == 0
    assert ks_distance(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6])) == 0.5
    assert ks_distance(np.zeros(3), np.ones(3)) == 1


def test_the_limit_of_the_distance_follows_the_bound() -> None:
    assert ks_limit(1000, 1e-4) == pytest.approx(math.sqrt(math.log(2e4) / 1000))
    with pytest.raises(ValueError, match="458"):
        ks_limit(457, 1e-4)


def test_honest_samples_keep_to_the_limit_as_often_as_they_must() -> None:
    rng = np.random.default_rng(0)
    beyond = sum(ks_distance(*rng.random((2, 500))) > ks_limit(500, 0.05) for _ in range(400))
    # Three standard deviations above what the bound allows on average.
    assert beyond <= 0.05 * 400 + 3 * math.sqrt(0.05 * 0.95 * 400)


def test_a_binomial_count_lies_in_its_range_with_the_stated_probability() -> None:
    for trials, share, probability in ((20, 0.5, 0.05), (11, 0.3, 0.01), (7, 0.0, 0.01), (5, 1.0, 0.01)):
        chances = [
            math.comb(trials, count) * share**count * (1 - share) ** (trials - count)
            for count in range(trials + 1)
        ]
        low, high = binomial_range(trials, share, probability)
        assert sum(chances[:low]) <= probability / 2
        assert sum(chances[: low + 1]) > probability / 2
        assert sum(chances[high + 1 :]) <= probability / 2
        assert sum(chances[high:]) > probability / 2


def test_a_count_is_held_against_as_many_draws_of_the_reference() -> None:
    low, high = count_range(4080, 89, 5e-6)
    assert 0 < low < 89 < high < 200
    assert count_range(4080, 0, 5e-6)[0] == 0
    assert count_range(4080, 0, 5e-6)[1] == 18
    assert count_range(1000, 500, 1e-4)[0] == pytest.approx(1000 - count_range(1000, 500, 1e-4)[1], abs=80)
