"""A process group of torch's: gloo between hosts' memories, NCCL between GPUs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from throughput.ranks.company import Company, Turn, Wish
from throughput.ranks.errors import BrokenTieError
from throughput.ranks.meeting import leads
from throughput.ranks.pace import InStep, Pace
from throughput.ranks.place import Place
from throughput.ranks.store import connect

T = TypeVar("T")

_TIMEOUT = timedelta(days=7)
"""A rank may convert a data set while the others wait; that one is gone is noticed by its signs of life."""
_SIGNS_OF_A_BREAK = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


class Group(Company):
    """The ranks' processes that hold tensors, joined."""

    def __init__(self, place: Place, end_soon: Callable[[], None]) -> None:
        self.rank, self.size = place.rank, place.world_size
        self._end_soon = end_soon
        self.leads_machine = leads(place.rank, self.everyone(socket.gethostname()))

    def everyone(self, value: T) -> list[T]:
        found: list[T | None] = [None] * self.size
        dist.all_gather_object(found, value)
        return found  # type: ignore[return-value] # each rank has given its own

    def turn(self, images: int, wish: Wish = Wish()) -> Turn:  # noqa: B008 - it cannot be changed
        every = torch.tensor([images, *wish])
        dist.all_reduce(every)
        of_all, *wishes = every.tolist()
        return Turn(images, of_all, self.size, Wish(*map(bool, wishes)))

    def end_soon(self) -> None:
        self._end_soon()

    def pace(self, *, in_step: bool) -> Pace:
        return InStep(self.meet, _ask_any) if in_step else Pace(self.meet)


def _ask_any(own: bool) -> Callable[[], bool]:
    any_does = torch.tensor([int(own)])
    asked = dist.all_reduce(any_does, dist.ReduceOp.MAX, async_op=True)

    def answer() -> bool:
        asked.wait()
        return bool(any_does)

    return answer


@contextmanager
def process_group(
    place: Place, name: str, device: str, end_soon: Callable[[], None] = lambda: None
) -> Iterator[Company]:
    """Join the group of that name, which all ranks do. Raises BrokenTieError where one goes away within."""
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    try:
        dist.init_process_group(
            backend,
            store=connect(place, name),
            rank=place.rank,
            world_size=place.world_size,
            timeout=_TIMEOUT,
        )
        yield Group(place, end_soon)
        dist.destroy_process_group()
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(sign in str(error) for sign in _SIGNS_OF_A_BREAK):
            raise BrokenTieError("the connection to another rank broke") from error
        raise
