"""What training makes small."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from throughput.training.recipe import Recipe

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Outputs (N, C) and labels to the mean over the images, a float32 scalar."""


def make_loss(recipe: Recipe) -> LossFunction:
    """The recipe's loss of raw outputs (N, C), labels (N,) int64 or targets (N,) or (N, C) float."""
    if recipe.loss == "squared":
        return squared_error

    def smoothed(outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels, label_smoothing=recipe.label_smoothing)

    return smoothed


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error of float targets; of classes, Brier's score.

    Brier ("Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950):
    the sum over the classes of (probability - one-hot) squared, its mean over the images, in 0..2.
    """
    if labels.is_floating_point():
        return F.mse_loss(outputs.float(), labels.float().view(outputs.shape))
    probabilities = outputs.float().softmax(dim=1)
    wanted = F.one_hot(labels, outputs.shape[1]).to(probabilities.dtype)
    return (probabilities - wanted).square().sum(dim=1).mean()


def l1_penalty(weights: Iterable[Tensor]) -> Tensor:
    """Sum of the absolute values."""
    return torch.stack([weight.abs().sum() for weight in weights]).sum()
