"""What cannot work is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from throughput.errors import OptionError
from throughput.training.recipe import MEASURED, Recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimiser": "lamb"}, "--optimizer must be one of sgd, nesterov, adam, adamw, got 'lamb'"),
        ({"schedule": "linear"}, "--schedule must be one of"),
        ({"loss": "hinge"}, "--loss must be one of cross-entropy, squared"),
        ({"learning_rate": 0.0}, "--lr must be a number above 0"),
        ({"learning_rate": float("nan")}, "--lr"),
        ({"weight_decay": -1.0}, "--weight-decay must be a number of 0 or more"),
        ({"l1": float("inf")}, "--l1"),
        ({"momentum": 1.0}, "--momentum must be a number from 0 to below 1"),
        ({"label_smoothing": 1.0}, "--label-smoothing"),
        ({"averaging": 1.0}, "--ema"),
        ({"clip_norm": 0.0}, "--clip"),
        ({"accumulate": 0}, "--accumulate must be a whole number of 1 or more"),
        ({"step_epochs": 1.5}, "--step-epochs"),
        ({"warmup_epochs": -1.0}, "--warmup"),
        ({"schedule": "onecycle", "warmup_epochs": 1.0}, "leave --warmup out"),
        ({"optimiser": "nesterov", "momentum": 0.0}, "nesterov needs a --momentum"),
        ({"loss": "squared", "label_smoothing": 0.1}, "--label-smoothing belongs to"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Recipe(**changes)


def test_the_bench_measures_plain_adamw_over_one_group() -> None:
    assert (MEASURED.optimiser, MEASURED.learning_rate, MEASURED.weight_decay) == ("adamw", 3e-3, 0.05)
    assert MEASURED.decay_all
    assert MEASURED.schedule == "constant"
