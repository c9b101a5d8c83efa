"""Learning rates, step by step, against their formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from throughput.training.optimisers import make_optimiser
from throughput.training.recipe import Recipe
from throughput.training.schedules import make_schedule

STEPS_PER_EPOCH, EPOCHS = 10, 6
RATE = 0.4


def rates(**choices: Any) -> list[float]:
    """Of each step, and of the one that would follow the last."""
    recipe = Recipe(optimiser="sgd", learning_rate=RATE, **choices)
    layer = nn.Linear(1, 1)
    optimiser = make_optimiser(layer, recipe)
    schedule = make_schedule(optimiser, recipe, STEPS_PER_EPOCH, EPOCHS)
    found = []
    for _ in range(STEPS_PER_EPOCH * EPOCHS):
        found.append(optimiser.param_groups[0]["lr"])
        for parameter in layer.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser.step()
        schedule.step()
    return [*found, optimiser.param_groups[0]["lr"]]


def test_constant_stays() -> None:
    assert rates(schedule="constant") == pytest.approx([RATE] * 61)


def test_step_falls_by_the_factor_every_so_many_epochs() -> None:
    found = rates(schedule="step", step_epochs=2, step_factor=0.5)
    assert found == pytest.approx([RATE * 0.5 ** (step // 20) for step in range(61)])


def test_cosine_ends_at_zero() -> None:
    found = rates(schedule="cosine")
    assert found == pytest.approx([RATE * (1 + math.cos(math.pi * step / 60)) / 2 for step in range(61)])


def test_a_warm_up_rises_linearly_and_the_schedule_takes_the_rest() -> None:
    found = rates(schedule="cosine", warmup_epochs=1.5)
    rise = [RATE * (0.01 + 0.99 * step / 15) for step in range(15)]
    fall = [RATE * (1 + math.cos(math.pi * step / 45)) / 2 for step in range(46)]
    assert found == pytest.approx(rise + fall, abs=1e-9)


def test_one_cycle_rises_to_the_rate_and_falls_to_nothing() -> None:
    found = rates(schedule="onecycle")[:60]
    peak = max(range(60), key=found.__getitem__)
    assert found[0] == pytest.approx(RATE / 25)
    assert found[peak] == pytest.approx(RATE, rel=1e-2)
    assert 15 <= peak <= 20, "three tenths of the way"
    assert found[-1] < 1e-4 * RATE
