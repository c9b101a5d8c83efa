"""Gradients averaged over the ranks, by torch's DistributedDataParallel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch.distributed as dist
from torch import Tensor, device
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel


def averaging(model: Module, on: device) -> Callable[[Tensor], Tensor]:
    """The model's forward, after which a backward averages its gradients over all ranks.

    They begin with rank 0's weights. Batch norm normalises each rank's batch by itself; its running figures
    are rank 0's.
    """
    wrapped: Callable[[Tensor], Tensor] = DistributedDataParallel(
        model, device_ids=[on.index] if on.type == "cuda" else None
    )
    return wrapped


def share_buffers(models: Iterable[Module]) -> None:
    """Give every rank rank 0's buffers, such as batch norm's running figures."""
    for model in models:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)
