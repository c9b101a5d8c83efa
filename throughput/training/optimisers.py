"""torch's optimisers, with weight decay where it belongs."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from torch.nn import Module, Parameter
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from throughput.training.recipe import Recipe

_LAYERS = (nn.Linear, _ConvNd)
_WEIGHT = re.compile(
    r"(?:(?P<layer>.*)\.)?(?P<own>weight|weight_orig|parametrizations\.weight\.original|\w+_proj_weight)"
)
"""A weight by itself, as torch's pruning or a parametrization keeps it, and of attention's inputs."""


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
    """Trained weights of convolutions and dense layers, those within attention included.

    To pull a bias, or what scales and shifts a norm, towards 0 simplifies nothing (He et al., "Bag of Tricks
    for Image Classification", CVPR 2019, section 3.1); nor does it of embeddings and scales of whole layers,
    whatever shape they have.
    """
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and _is_weight(model, name)
    ]


def undecayed(model: Module) -> list[Parameter]:
    """The other trained parameters."""
    weights = {id(parameter) for parameter in decayed(model)}
    return [
        parameter
        for parameter in model.parameters()
        if parameter.requires_grad and id(parameter) not in weights
    ]


def _is_weight(model: Module, name: str) -> bool:
    """Whether a parameter is the weight of a layer that multiplies and adds."""
    found = _WEIGHT.fullmatch(name)
    if found is None:
        return False
    layer, own = model.get_submodule(found["layer"] or ""), found["own"]
    return isinstance(layer, nn.MultiheadAttention if own.endswith("proj_weight") else _LAYERS)
