"""Losses and penalties against formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from throughput.training.losses import l1_penalty, make_loss
from throughput.training.recipe import Recipe

RNG = np.random.default_rng(0)
OUTPUTS = RNG.normal(size=(6, 4))
LABELS = np.array([0, 3, 1, 1, 2, 0])


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing: float) -> None:
    wanted = np.eye(4)[LABELS] * (1 - smoothing) + smoothing / 4
    loss = make_loss(Recipe(label_smoothing=smoothing))(torch.tensor(OUTPUTS), torch.tensor(LABELS))
    assert float(loss) == pytest.approx(-(wanted * np.log(softmax(OUTPUTS))).sum(axis=1).mean())


def test_squared_error_of_classes_is_briers_score() -> None:
    loss = make_loss(Recipe(loss="squared"))(torch.tensor(OUTPUTS), torch.tensor(LABELS))
    wanted = ((softmax(OUTPUTS) - np.eye(4)[LABELS]) ** 2).sum(axis=1).mean()
    assert float(loss) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 4)])
def test_squared_error_of_targets(shape: tuple[int, ...]) -> None:
    outputs = OUTPUTS[:, : shape[1] if len(shape) == 2 else 1]
    targets = RNG.normal(size=shape)
    loss = make_loss(Recipe(loss="squared"))(torch.tensor(outputs), torch.tensor(targets))
    assert float(loss) == pytest.approx(((outputs - targets.reshape(outputs.shape)) ** 2).mean(), rel=1e-6)


def test_l1_is_the_sum_of_absolute_values_and_its_slope_their_sign() -> None:
    weights = [torch.tensor(OUTPUTS, requires_grad=True), torch.tensor([-2.0, 1.0], requires_grad=True)]
    penalty = l1_penalty(weights)
    penalty.backward()
    assert penalty.item() == pytest.approx(np.abs(OUTPUTS).sum() + 3)
    np.testing.assert_array_equal(weights[0].grad.numpy(), np.sign(OUTPUTS))
