"""The layer that tells the classes apart: transfer learning replaces it, and its input are the features."""

from __future__ import annotations

from torch import nn
from torch.nn import Module

from throughput.errors import OptionError


def classifier_of(model: Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The last dense layer and its name in ``model``; where there is none, the last convolution.

    Raises OptionError for a model that has neither.
    """
    for kind in (nn.Linear, nn.Conv2d):
        layers = [(name, module) for name, module in model.named_modules() if isinstance(module, kind)]
        if layers:
            return layers[-1]
    raise OptionError("this model has neither a dense layer nor a convolution: it has no classifier")


def freeze(model: Module) -> None:
    """Let training change nothing but the classifier."""
    model.requires_grad_(requires_grad=False)
    classifier_of(model)[1].requires_grad_(requires_grad=True)


def train_mode(model: Module) -> None:
    """Training mode; modules whose parameters are all frozen stay as they are in use, with all inside them.

    A frozen batch norm would otherwise go on averaging what it sees. A dropout beside the classifier has no
    parameters and drops.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
