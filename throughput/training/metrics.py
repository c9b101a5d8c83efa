"""How good predictions are: plain arithmetic on outputs and labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from throughput.trained import Classification, Metrics, Regression
from throughput.training.predictions import Predictions

TOP = 5


def judge(predictions: Predictions, *, probabilities: bool = False) -> Metrics:
    """Metrics of raw outputs, or of probabilities, by the kind of the labels."""
    if predictions.labels.is_floating_point():
        return judge_targets(predictions.outputs, predictions.labels)
    return judge_classes(predictions.outputs, predictions.labels, probabilities=probabilities)


def judge_classes(outputs: Tensor, labels: Tensor, *, probabilities: bool = False) -> Classification:
    """Of outputs (N, C) and labels (N,) int64, N of 1 or more.

    A probability of 0 counts as the smallest double that is above it: the loss stays finite.
    """
    classes = outputs.shape[1]
    smallest = torch.finfo(torch.float64).tiny
    given = outputs.double()
    log_likelihood = given.clamp_min(smallest).log() if probabilities else given.log_softmax(dim=1)
    answers = outputs.argmax(dim=1)
    places, images = torch.unique(labels * classes + answers, return_counts=True)
    cells = torch.stack([places // classes, places % classes, images], dim=1)
    top = None
    if classes > TOP:
        among = outputs.topk(TOP, dim=1).indices == labels[:, None]
        top = float(among.any(dim=1).double().mean())
    return Classification(float(F.nll_loss(log_likelihood, labels)), classes, cells.numpy(), top)


def judge_targets(outputs: Tensor, targets: Tensor) -> Regression:
    """Of outputs (N, K) and targets (N,) or (N, K), N of 1 or more.

    R2 is 1 - sum of squared errors / sum of squared deviations from the mean, as scikit-learn's r2_score.
    """
    given = outputs.double()
    wanted = targets.double().view(given.shape)
    squared = (given - wanted).square()
    spread = (wanted - wanted.mean(dim=0)).square().sum(dim=0)
    explained = None
    if bool((spread > 0).all()):
        explained = float((1 - squared.sum(dim=0) / spread).mean())
    return Regression(len(wanted), float(squared.mean()), float((given - wanted).abs().mean()), explained)
