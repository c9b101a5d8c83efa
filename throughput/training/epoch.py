"""One epoch of training, pulled by hand so that waiting is a number."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughput.errors import LoaderError
from throughput.measure.feed import Feed
from throughput.measure.ledger import Ledger
from throughput.measure.waiting import Waiting
from throughput.results import Pass
from throughput.training.errors import DivergedError
from throughput.training.step import TrainingStep

TELL_INTERVAL_SECONDS = 0.25
"""Telling reads the loss, for which a GPU is waited for."""


@dataclass(frozen=True)
class Moment:
    """How training stands. batch: done in this epoch, of so many. loss: mean of this epoch so far."""

    epoch: int
    batch: int
    batches: int
    images_per_second: float
    wait_fraction: float
    loss: float


class Losses:
    """The losses of an epoch, which stay on the device until they are asked for."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._pending: list[Tensor] = []
        self._read: list[float] = []
        self._images: list[int] = []

    def add(self, loss: Tensor, images: int) -> None:
        """That of the next batch, the mean over so many images."""
        self._pending.append(loss)
        self._images.append(images)

    def mean(self) -> float:
        """Mean over the images so far. Raises DivergedError, naming the batch, where one is not finite."""
        if self._pending:
            values = torch.stack(self._pending).tolist()
            self._pending.clear()
            for place, value in enumerate(values, start=len(self._read) + 1):
                if not np.isfinite(value):
                    raise DivergedError(f"the loss became {value} in epoch {self._epoch + 1}, step {place}")
            self._read += values
        return float(np.average(self._read, weights=self._images))


def seed_epoch(seed: int, epoch: int) -> None:
    """Let what torch draws in an epoch, as dropout does, depend on (seed, epoch) and on nothing before it."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]))


def train_epoch(
    feed: Feed,
    step: TrainingStep,
    epoch: int,
    *,
    seed: int,
    batches: int,
    ledger: Ledger,
    waiting: Waiting,
    tell: Callable[[Moment], None],
    begun: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Pass, float]:
    """Train on every batch of an epoch; what it took, and the mean loss. Raises DivergedError.

    batches: how many are expected, for ``tell``, which is told a few times a second. begun: called when
    the first one is ready.
    """
    losses = Losses(epoch)
    ledger.begin(epoch)
    images = number = 0
    waited_seconds = 0.0
    begin = told = clock()
    iterator = feed.epoch(epoch)
    while True:
        before = clock()
        batch = next(iterator, None)
        if batch is None:
            break
        if number == 0:
            # Loaders that start processes draw from torch's generator when their first batch is asked for.
            seed_epoch(seed, epoch)
            begun()
        waited = clock() - before
        waited_seconds += waited
        waiting.pulled(waited)
        ledger.add_faults(feed.take_faults())
        images += ledger.add_batch(batch)
        losses.add(step(batch), len(batch.labels))
        waiting.stepped()
        # Held on to, this batch would keep its memory from being used for the next one.
        del batch
        number += 1
        if (now := clock()) - told >= TELL_INTERVAL_SECONDS:
            told = now
            seconds = now - begin
            moment = Moment(epoch, number, batches, images / seconds, waited_seconds / seconds, losses.mean())
            tell(moment)
    if number == 0:
        raise LoaderError(f"the loader yielded no batch in epoch {epoch}")
    step.update()
    waits = waiting.finish()
    seconds = clock() - begin
    ledger.add_faults(feed.take_faults())
    ledger.end()
    return Pass(images, seconds, sum(waits), waits), losses.mean()
