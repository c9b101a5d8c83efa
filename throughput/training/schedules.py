"""torch's learning-rate schedules, stepped after every optimiser step, with a linear warm-up before them."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from throughput.training.recipe import Recipe

_WARMUP_FROM = 0.01
"""Share of the learning rate that a warm-up begins with."""


def make_schedule(optimiser: Optimizer, recipe: Recipe, steps_per_epoch: int, epochs: int) -> LRScheduler:
    """The recipe's schedule over ``epochs * steps_per_epoch`` optimiser steps.

    The warm-up counts among them: a cosine reaches 0 with the last step all the same.
    """
    steps = max(1, epochs * steps_per_epoch)
    if recipe.schedule == "onecycle":
        # The momentum stays as it was chosen: only the rate has a schedule here.
        return OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps, cycle_momentum=False)
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), steps)
    rest = max(1, steps - warmup)
    after: LRScheduler
    match recipe.schedule:
        case "constant":
            after = ConstantLR(optimiser, factor=1.0)
        case "step":
            after = StepLR(optimiser, recipe.step_epochs * steps_per_epoch, recipe.step_factor)
        case "cosine":
            after = CosineAnnealingLR(optimiser, rest)
    if not warmup:
        return after
    rise = LinearLR(optimiser, start_factor=_WARMUP_FROM, total_iters=warmup)
    return SequentialLR(optimiser, [rise, after], milestones=[warmup])
