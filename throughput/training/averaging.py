"""A moving average of the weights, which is judged in place of them: torch's AveragedModel."""

from __future__ import annotations

from torch.nn import Module
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from throughput.training.recipe import Recipe


def make_average(model: Module, recipe: Recipe) -> AveragedModel | None:
    """The exponential average of weights and buffers, the latter so that batch norm fits them; None: none.

    Its first update copies the model: the average does not begin with untrained weights.
    """
    if recipe.averaging is None:
        return None
    # torch types its own helper not.
    blend = get_ema_multi_avg_fn(recipe.averaging)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=blend, use_buffers=True)
