"""torch's optimisers, with weight decay where it belongs."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from throughput.training.recipe import Recipe


def make_optimiser(model: Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over the parameters that are not frozen; fused, one kernel for all of them."""
    groups: list[dict[str, Any]]
    if recipe.decay_all:
        groups = [{"params": [parameter for parameter in model.parameters() if parameter.requires_grad]}]
    else:
        weights, others = decayed(model), undecayed(model)
        groups = [{"params": weights}] if weights else []
        if others:
            groups.append({"params": others, "weight_decay": 0.0})
    rate, decay = recipe.learning_rate, recipe.weight_decay
    match recipe.optimiser:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
        case "sgd" | "nesterov":
            return torch.optim.SGD(
                groups,
                lr=rate,
                momentum=recipe.momentum,
                weight_decay=decay,
                nesterov=recipe.optimiser == "nesterov",
                fused=True,
            )


def decayed(model: Module) -> list[Parameter]:
    """Trained parameters of two dimensions or more: the weights of convolutions and dense layers.

    What has fewer is a bias, or scales and shifts a norm: to pull it towards 0 simplifies nothing (He et
    al., "Bag of Tricks for Image Classification", CVPR 2019, section 3.1).
    """
    return [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim > 1]


def undecayed(model: Module) -> list[Parameter]:
    """The other trained parameters."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim <= 1]
