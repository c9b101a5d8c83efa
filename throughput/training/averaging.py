"""A moving average of the weights, which is judged in place of them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim.swa_utils import get_ema_multi_avg_fn

from throughput.training.recipe import Recipe


class Average:
    """The exponential average of weights and buffers, the latter so that batch norm fits them.

    torch's AveragedModel with the same blend counts its updates in a tensor, for which a GPU would be waited
    for at every step.
    """

    def __init__(self, model: Module, decay: float) -> None:
        self.module = deepcopy(model)
        self._begun = False
        # torch types its own helper not.
        self._blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self, model: Module) -> None:
        """Take in the model as it is; the first time, copy it: the average has no untrained weights."""
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        numbers = [(own, new) for own, new in pairs if own.is_floating_point()]
        if self._begun and numbers:
            self._blend([own for own, _ in numbers], [new for _, new in numbers], None)
        for own, new in pairs:
            if not (self._begun and own.is_floating_point()):
                own.copy_(new)  # a count, such as batch norm's of its batches, is no average
        self._begun = True

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` takes."""
        return {"begun": self._begun, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a ``state_dict``."""
        self._begun = state["begun"]
        self.module.load_state_dict(state["module"])


def make_average(model: Module, recipe: Recipe) -> Average | None:
    """The recipe's; None: none.

    It is updated after every step of the optimiser, those included that float16's scaler skips because a
    gradient overflowed: then it takes in the same weights once more.
    """
    return None if recipe.averaging is None else Average(model, recipe.averaging)


def _tensors(model: Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
