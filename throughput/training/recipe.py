"""How a model is optimised: every choice, in one frozen dataclass that refuses what cannot work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from throughput.errors import OptionError

Optimiser = Literal["sgd", "nesterov", "adam", "adamw"]
Schedule = Literal["constant", "step", "cosine", "onecycle"]
Loss = Literal["cross-entropy", "squared"]

OPTIMISERS: tuple[Optimiser, ...] = ("sgd", "nesterov", "adam", "adamw")
SCHEDULES: tuple[Schedule, ...] = ("constant", "step", "cosine", "onecycle")
LOSSES: tuple[Loss, ...] = ("cross-entropy", "squared")


@dataclass(frozen=True)
class Recipe:
    """Loss, penalties, optimiser and schedule. Raises OptionError for a value that cannot work.

    optimiser: sgd, nesterov (SGD with Nesterov's momentum), adam (weight decay as an L2 penalty) or adamw
        (decoupled weight decay).
    learning_rate: the highest of the schedule. momentum: of sgd and nesterov.
    weight_decay: L2, of the weights of convolutions and dense layers. decay_all: of norms, biases and
        embeddings as well, which usually stay free of it.
    l1: factor of the sum of the same absolute weights in the loss.
    schedule: constant; step (times ``step_factor`` every ``step_epochs``); cosine (down to 0); onecycle
        (up, then down, with a warm-up of its own).
    warmup_epochs: the rate rises linearly over the first so many; may be a fraction.
    loss: squared is the mean squared error of float targets, or Brier's score of classes.
    label_smoothing: share of the probability that cross-entropy spreads over all classes.
    clip_norm: longest gradient, over all parameters together; None: any.
    accumulate: batches whose gradients make one step, as if they were one batch.
    averaging: decay, for each step, of the moving average of the weights that is judged; None: none.
    freeze: train the last layer only.
    """

    optimiser: Optimiser = "adamw"
    learning_rate: float = 3e-3
    momentum: float = 0.9
    weight_decay: float = 0.05
    decay_all: bool = False
    l1: float = 0.0
    schedule: Schedule = "constant"
    warmup_epochs: float = 0.0
    step_epochs: int = 10
    step_factor: float = 0.1
    loss: Loss = "cross-entropy"
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    accumulate: int = 1
    averaging: float | None = None
    freeze: bool = False

    def __post_init__(self) -> None:
        _one_of("--optimizer", self.optimiser, OPTIMISERS)
        _one_of("--schedule", self.schedule, SCHEDULES)
        _one_of("--loss", self.loss, LOSSES)
        _above_zero("--lr", self.learning_rate)
        _in_unit("--momentum", self.momentum)
        for name, value in (("--weight-decay", self.weight_decay), ("--l1", self.l1)):
            _not_negative(name, value)
        _not_negative("--warmup", self.warmup_epochs)
        _in_unit("--label-smoothing", self.label_smoothing)
        _above_zero("--step-factor", self.step_factor)
        for name, count in (("--step-epochs", self.step_epochs), ("--accumulate", self.accumulate)):
            if not isinstance(count, int) or count < 1:
                raise OptionError(f"{name} must be a whole number of 1 or more, got {count!r}")
        if self.clip_norm is not None:
            _above_zero("--clip", self.clip_norm)
        if self.averaging is not None:
            _in_unit("--ema", self.averaging)
        if self.optimiser == "nesterov" and self.momentum == 0:
            raise OptionError("--optimizer nesterov needs a --momentum above 0: choose one, or sgd")
        if self.schedule == "onecycle" and self.warmup_epochs:
            raise OptionError("--schedule onecycle warms up by itself: leave --warmup out")
        if self.loss == "squared" and self.label_smoothing:
            raise OptionError("--label-smoothing belongs to --loss cross-entropy: leave it out")


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise OptionError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _above_zero(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise OptionError(f"{name} must be a number above 0, got {value!r}")


def _not_negative(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise OptionError(f"{name} must be a number of 0 or more, got {value!r}")


def _in_unit(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise OptionError(f"{name} must be a number from 0 to below 1, got {value!r}")


MEASURED = Recipe(decay_all=True)
"""What the bench measures: AdamW without warm-up or schedule, as a measurement may end after any number of
steps, and one group of parameters, so that a fused step is one kernel."""
