"""How ``train`` and ``prune`` optimise: the options of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from throughput.errors import OptionError

if TYPE_CHECKING:
    from throughput.training.recipe import Recipe

Function = TypeVar("Function", bound=Callable[..., Any])

RATES = {"sgd": 0.1, "nesterov": 0.1, "adam": 1e-3, "adamw": 1e-3}
"""Learning rates that suit most networks with batch norm; without one, SGD wants a tenth of it."""
DECAYS = {"sgd": 5e-4, "nesterov": 5e-4, "adam": 0.0, "adamw": 0.05}
"""Usual weight decays: of SGD on CIFAR and ImageNet, of AdamW as in torch's training references."""

_OPTIONS = (
    click.option(
        "--optimizer",
        "optimiser",
        default="adamw",
        show_default=True,
        metavar="sgd|nesterov|adam|adamw",
        help="torch's.",
    ),
    click.option(
        "--lr", "learning_rate", type=float, metavar="RATE", help="[default: 0.001, of sgd and nesterov 0.1]"
    ),
    click.option("--momentum", type=float, help="Of sgd and nesterov. [default: 0.9]"),
    click.option(
        "--schedule",
        default="cosine",
        show_default=True,
        metavar="constant|step|cosine|onecycle",
        help="How the learning rate goes on.",
    ),
    click.option(
        "--warmup",
        "warmup_epochs",
        type=float,
        default=0.0,
        show_default=True,
        metavar="EPOCHS",
        help="The rate rises linearly over so many, before the schedule begins.",
    ),
    click.option(
        "--step-epochs",
        type=int,
        metavar="N",
        help="Of the schedule step: how long a rate holds. [default: 10]",
    ),
    click.option(
        "--step-factor", type=float, metavar="F", help="Of the same: then it is times this. [default: 0.1]"
    ),
    click.option(
        "--loss",
        default="cross-entropy",
        show_default=True,
        metavar="cross-entropy|squared",
        help="squared: of float labels; of classes, Brier's score.",
    ),
    click.option("--label-smoothing", type=float, default=0.0, show_default=True, metavar="SHARE"),
    click.option(
        "--weight-decay",
        type=float,
        metavar="L2",
        help="Of the weights of convolutions and dense layers only. "
        "[default: 0.05, of adam 0, of sgd and nesterov 0.0005]",
    ),
    click.option(
        "--l1",
        type=float,
        default=0.0,
        show_default=True,
        metavar="L1",
        help="Penalty on the absolute values of the same weights.",
    ),
    click.option(
        "--clip", "clip_norm", type=float, metavar="NORM", help="Longest gradient that is taken as it is."
    ),
    click.option(
        "--accumulate",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="Batches that make one step.",
    ),
    click.option(
        "--ema",
        "averaging",
        type=float,
        metavar="DECAY",
        help="Judge a moving average of the weights, such as 0.999, in place of the last ones.",
    ),
    click.option("--freeze", is_flag=True, help="Train the last layer only."),
)
_BELONG = {
    "momentum": ("optimiser", ("sgd", "nesterov")),
    "step_epochs": ("schedule", ("step",)),
    "step_factor": ("schedule", ("step",)),
}
"""Options that say nothing where another has not one of these values."""
NAMES = (
    "optimiser", "learning_rate", "momentum", "schedule", "warmup_epochs", "step_epochs", "step_factor",
    "loss", "label_smoothing", "weight_decay", "l1", "clip_norm", "accumulate", "averaging", "freeze",
)  # fmt: skip


def recipe_options(command: Function) -> Function:
    """The command with all options of a recipe."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def recipe_of(chosen: dict[str, Any]) -> Recipe:
    """The recipe that was chosen. Raises OptionError, for an option that would change nothing as well."""
    from throughput.training.recipe import OPTIMISERS, SCHEDULES, Recipe

    values = {name: chosen[name] for name in NAMES}
    for name, (other, needed) in _BELONG.items():
        if values[name] is None:
            del values[name]  # the recipe has the default
        elif values[other] not in needed and values[other] in OPTIMISERS + SCHEDULES:
            option = "--optimizer" if other == "optimiser" else "--schedule"
            raise OptionError(
                f"--{name.replace('_', '-')} belongs to {option} {' and '.join(needed)}, and this is "
                f"{values[other]}: leave it out"
            )
    # An unknown optimiser is refused by the recipe, in words.
    if values["learning_rate"] is None:
        values["learning_rate"] = RATES.get(values["optimiser"], 1e-3)
    if values["weight_decay"] is None:
        values["weight_decay"] = DECAYS.get(values["optimiser"], 0.0)
    return Recipe(**values)
