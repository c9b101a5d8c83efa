"""Optimisers against their formulas, and weight decay where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from throughput.registry import load_model_family_for
from throughput.training.optimisers import decayed, make_optimiser, undecayed
from throughput.training.pruning import prune_model
from throughput.training.recipe import MEASURED, Recipe

START = np.array([[0.5, -1.0], [2.0, 0.25]])
GRADIENTS = (np.array([[0.1, -0.2], [0.3, 0.0]]), np.array([[-0.4, 0.1], [0.2, 0.5]]))
RATE, DECAY, MOMENTUM = 0.1, 0.01, 0.9


def stepped(recipe: Recipe) -> np.ndarray:
    """A dense layer's weights after two steps with GRADIENTS."""
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor(START, dtype=torch.float32)
    optimiser = make_optimiser(layer, recipe)
    for gradient in GRADIENTS:
        layer.weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimiser.step()
    return layer.weight.detach().numpy()


def sgd(nesterov: bool) -> np.ndarray:
    """Sutskever et al., ICML 2013, in torch's form."""
    weights, velocity = START.copy(), np.zeros_like(START)
    for number, gradient in enumerate(GRADIENTS):
        slope = gradient + DECAY * weights
        velocity = slope if number == 0 else MOMENTUM * velocity + slope
        weights -= RATE * (slope + MOMENTUM * velocity if nesterov else velocity)
    return weights


def adam(decoupled: bool) -> np.ndarray:
    """Kingma and Ba, ICLR 2015; decoupled: Loshchilov and Hutter, ICLR 2019."""
    weights = START.copy()
    first = second = np.zeros_like(START)
    for number, gradient in enumerate(GRADIENTS, start=1):
        slope = gradient
        if decoupled:
            weights *= 1 - RATE * DECAY
        else:
            slope = gradient + DECAY * weights
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        weights -= RATE * (first / (1 - 0.9**number)) / (np.sqrt(second / (1 - 0.999**number)) + 1e-8)
    return weights


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("sgd", sgd(False)), ("nesterov", sgd(True)), ("adam", adam(False)), ("adamw", adam(True))],
)
def test_two_steps_are_those_of_the_formula(name: str, wanted: np.ndarray) -> None:
    recipe = Recipe(optimiser=name, learning_rate=RATE, weight_decay=DECAY, momentum=MOMENTUM)  # type: ignore[arg-type]
    np.testing.assert_allclose(stepped(recipe), wanted, rtol=1e-5)


def test_norms_and_biases_do_not_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    assert [tuple(weight.shape) for weight in decayed(model)] == [(2, 1, 3, 3), (2, 2)]
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimiser = make_optimiser(model, Recipe(optimiser="sgd", learning_rate=0.5, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, value in model.named_parameters():
        factor = 0.75 if value.ndim > 1 else 1.0
        torch.testing.assert_close(value, factor * before[name], msg=name)


def test_what_the_bench_measures_is_one_group_of_all_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    (group,) = make_optimiser(model, MEASURED).param_groups
    assert len(group["params"]) == 4
    assert group["weight_decay"] == 0.05


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    groups = make_optimiser(model, Recipe()).param_groups
    assert [parameter.shape for group in groups for parameter in group["params"]] == [(2, 2), (2,)]


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("swin_t", {"relative_position_bias_table"}),
        ("convnext_tiny", {"layer_scale"}),
        ("vit_b_16", {"class_token", "pos_embedding"}),
    ],
)
def test_only_weights_of_layers_decay_whatever_shape_the_rest_has(name: str, free: set[str]) -> None:
    with torch.device("meta"):
        model = load_model_family_for(name).build(name, 10, 3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    weights, others = decayed(model), undecayed(model)
    assert sorted(names) == sorted(id(parameter) for parameter in (*weights, *others))
    assert {names[id(one)].rpartition(".")[2] for one in others if one.ndim > 1} == free
    assert {names[id(one)].rpartition(".")[2] for one in weights} == (
        {"weight", "in_proj_weight"} if name == "vit_b_16" else {"weight"}
    )
    assert all(one.ndim > 1 for one in weights)


def test_pruned_weights_decay_as_others_do() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    prune_model(model, 0.5, "magnitude")
    assert [tuple(weight.shape) for weight in decayed(model)] == [(2, 1, 3, 3), (2, 2)]
    layer = nn.Linear(2, 3)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    assert [tuple(weight.shape) for weight in decayed(layer)] == [(3, 2)]
