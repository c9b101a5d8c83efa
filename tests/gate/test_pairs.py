"""How many pairs there are, and how long is waited for one, by a clock that goes as the test wants."""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from throughput.gate.arms import Side
from throughput.gate.pairs import Pairing, Pairs, measure_pairs

BATCH = 16


class Scripted:
    """An arm whose rounds take as long as a script says. patiences: how long they were waited for."""

    def __init__(self, clock: list[float], rates: Any) -> None:
        self.side = Side("base", Path(), "python")
        self.patiences: list[float | None] = []
        self._clock, self._rates = clock, rates
        self._told: dict[str, Any] = {}

    def tell(self, **told: Any) -> None:
        self._told = told

    def heard(self, patience_seconds: float | None = None) -> dict[str, Any]:
        self.patiences.append(patience_seconds)
        rate = next(self._rates)
        batches = self._told["steps"] or max(1, round(self._told["seconds"] * rate / BATCH))
        seconds = batches * BATCH / rate
        self._clock[0] += seconds
        return {"kind": "round", "images": batches * BATCH, "batches": batches, "seconds": seconds}


@pytest.fixture
def measured() -> Any:
    """Measure pairs of two scripted arms; what came of it, and the arms."""

    def run(
        first: float, swing: float, *, seconds: float = 2.0, budget: float = 60.0
    ) -> tuple[Pairs, Scripted]:
        clock = [0.0]
        rates = (first if number == 0 else 100.0 for number in count())
        swinging = (first if number == 0 else 100 * (1 + swing * (-1) ** (number // 2)) for number in count())
        base, head = Scripted(clock, rates), Scripted(clock, swinging)
        pairing = Pairing(
            (base, head),  # type: ignore[arg-type] # as far as it is used
            0.95,
            "a reason to measure one after the other",
            seconds,
            random.Random(0),
            Path(),
            budget,
            lambda: clock[0],
            lambda _: None,
        )
        return measure_pairs(pairing), base

    return run


@pytest.mark.parametrize("first", [100.0, 25.0])
def test_a_slow_beginning_does_not_make_the_last_look_hard(measured, first: float) -> None:
    """In as many pairs as there is time for, a spread of 6 % is small enough."""
    pairs, _ = measured(first, 0.06)
    assert pairs.planned < 18
    assert pairs.decision == "not slower"


def test_pairs_go_on_for_as_long_as_there_is_time(measured) -> None:
    pairs, _ = measured(100.0, 0.3)
    assert pairs.decision == "undecided"
    assert pairs.reason.startswith("time was up")
    assert 13 <= pairs.count <= 17


def test_a_pass_of_any_length_is_waited_for(measured) -> None:
    _, arm = measured(100.0, 0.0, seconds=45.0, budget=600.0)
    assert min(patience for patience in arm.patiences if patience is not None) > 2 * 45
