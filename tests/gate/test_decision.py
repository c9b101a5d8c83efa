"""What a gate says of pairs whose truth is known: looking again and again must not make it err."""

from __future__ import annotations

import math

import numpy as np
import pytest

from throughput.gate.decision import FEWEST_PAIRS, decide, is_look

LEAST = 0.95
SPREAD = 0.05
"""Standard deviation of the logarithm of a pair's ratio."""


def decided(draw: np.random.Generator, ratio: float, most_pairs: int = 50) -> str:
    """As a gate goes: the first decision among all looks."""
    heads = ratio * np.exp(draw.normal(0, SPREAD, most_pairs))
    for pairs in range(FEWEST_PAIRS, most_pairs + 1):
        if is_look(pairs):
            decision, _ = decide([1.0] * pairs, heads[:pairs].tolist(), LEAST)
            if decision != "undecided":
                return decision
    return "undecided"


def test_it_looks_less_and_less_often() -> None:
    looks = [pairs for pairs in range(1, 60) if is_look(pairs)]
    assert looks == [4, 6, 9, 14, 21, 32, 48]


@pytest.mark.parametrize("never", ["slower", "not slower"])
def test_at_the_margin_all_looks_together_err_in_5_per_cent_at_most(never: str) -> None:
    draw = np.random.default_rng(0)
    # At the margin either word is wrong: each may come in half of 5 %, and by chance a little oftener.
    wrong = sum(decided(draw, LEAST) == never for _ in range(2000))
    assert wrong <= 0.025 * 2000 + 3 * math.sqrt(0.025 * 2000)


def test_the_same_is_not_slower_and_a_seventh_less_is() -> None:
    draw = np.random.default_rng(1)
    assert sum(decided(draw, 1.0) == "not slower" for _ in range(200)) >= 198
    assert sum(decided(draw, 1 / 1.15) == "slower" for _ in range(200)) >= 198


def test_one_pair_says_nothing() -> None:
    with pytest.raises(ValueError, match="two pairs"):
        decide([1.0], [1.0], LEAST)
