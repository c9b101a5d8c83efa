"""What a gate says of pairs whose truth is known: looking again and again must not make it err."""

from __future__ import annotations

import math

import numpy as np
import pytest

from throughput.gate.decision import FEWEST_PAIRS, decide, error_at, is_look

LEAST = 0.95
SPREAD = 0.05
"""Standard deviation of the logarithm of a pair's ratio."""


def decided(draw: np.random.Generator, ratio: float, planned: int) -> str:
    """As a gate goes: the first decision among all looks."""
    heads = ratio * np.exp(draw.normal(0, SPREAD, planned))
    for pairs in range(FEWEST_PAIRS, planned + 1):
        if is_look(pairs, planned):
            decision, _ = decide([1.0] * pairs, heads[:pairs].tolist(), LEAST, planned)
            if decision != "undecided":
                return decision
    return "undecided"


def test_it_looks_after_each_eighth() -> None:
    assert [pairs for pairs in range(1, 49) if is_look(pairs, 48)] == [6, 12, 18, 24, 30, 36, 42, 48]
    assert [pairs for pairs in range(1, 13) if is_look(pairs, 12)] == [4, 5, 6, 8, 9, 11, 12]
    assert [pairs for pairs in range(1, 5) if is_look(pairs, 4)] == [4]


def test_early_looks_ask_for_more() -> None:
    errors = [error_at(pairs, 48) for pairs in (6, 12, 24, 48)]
    assert errors == sorted(errors)
    assert errors[0] < 1e-8
    assert errors[-1] == pytest.approx(0.034, abs=0.001)


@pytest.mark.parametrize("planned", [4, 12, 48])
@pytest.mark.parametrize("never", ["slower", "not slower"])
def test_at_the_margin_all_looks_together_err_in_5_per_cent_at_most(never: str, planned: int) -> None:
    draw = np.random.default_rng(0)
    # At the margin either word is wrong: each may come in half of 5 %, and by chance a little oftener.
    wrong = sum(decided(draw, LEAST, planned) == never for _ in range(2000))
    assert wrong <= 0.025 * 2000 + 3 * math.sqrt(0.025 * 2000)


def test_the_same_is_not_slower_and_a_seventh_less_is() -> None:
    draw = np.random.default_rng(1)
    assert sum(decided(draw, 1.0, 24) == "not slower" for _ in range(200)) >= 198
    assert sum(decided(draw, 1 / 1.15, 24) == "slower" for _ in range(200)) >= 198


def test_one_pair_says_nothing() -> None:
    with pytest.raises(ValueError, match="two pairs"):
        decide([1.0], [1.0], LEAST, 4)
