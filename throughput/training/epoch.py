"""One epoch of training, pulled by hand so that waiting is a number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughput.contracts import Batch
from throughput.errors import LoaderError
from throughput.measure.feed import Feed
from throughput.measure.ledger import Ledger
from throughput.measure.waiting import Waiting
from throughput.ranks.company import ALONE, Company, Wish
from throughput.ranks.filler import blank, filler_like
from throughput.results import Pass
from throughput.training.errors import DivergedError
from throughput.training.keeping import Keeping
from throughput.training.resumption import Part, random_states, set_random_states
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
    """The losses of an epoch, which stay on the device until they are asked for. part: those before."""

    def __init__(self, epoch: int, part: Part | None = None) -> None:
        self._epoch = epoch
        self._pending: list[Tensor] = []
        self._read: list[float] = [] if part is None else list(part.losses)
        self._images: list[int] = [] if part is None else list(part.sizes)

    def add(self, loss: Tensor, images: int) -> None:
        """That of the next batch, the mean over so many images."""
        self._pending.append(loss)
        self._images.append(images)

    def each(self) -> tuple[list[float], list[int]]:
        """Of each batch so far, its loss and its images. Raises DivergedError where a loss is not finite."""
        self.mean()
        return list(self._read), list(self._images)

    def mean(self) -> float:
        """Mean over the images so far; NaN where there are none.

        Raises DivergedError, naming the batch, where one is not finite.
        """
        if self._pending:
            values = torch.stack(self._pending).tolist()
            self._pending.clear()
            for place, value in enumerate(values, start=len(self._read) + 1):
                if not np.isfinite(value):
                    raise DivergedError(f"the loss became {value} in epoch {self._epoch + 1}, step {place}")
            self._read += values
        return float(np.average(self._read, weights=self._images)) if any(self._images) else math.nan


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Let what torch draws in an epoch, as dropout does, depend on (seed, epoch) and on nothing before it.

    Each rank draws for itself.
    """
    entropy = [seed, epoch, rank] if rank else [seed, epoch]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


def begin_drawing(seed: int, epoch: int, rank: int, part: Part | None, device: torch.device) -> None:
    """Let torch draw as in this epoch; behind a part of it, as it would have gone on to."""
    if part is None:
        seed_epoch(seed, epoch, rank)
    else:
        set_random_states(part.random, device)


class _SoFar:
    """What has come of an epoch. part: in an earlier process."""

    def __init__(
        self,
        epoch: int,
        part: Part | None,
        ledger: Ledger,
        waiting: Waiting,
        clock: Callable[[], float],
    ) -> None:
        before = Part(epoch) if part is None else part
        ledger.begin(epoch, before.ledger)
        self.losses = Losses(epoch, part)
        self.batches, self.images, self.waited_seconds = before.batches, before.images, before.wait_seconds
        self._epoch = epoch
        self._ledger = ledger
        self._waiting = waiting
        self._waits: list[float] = []
        self._waited_before_seconds = before.wait_seconds
        self._clock = clock
        self.told = clock()
        self._begin = self.told - before.seconds

    def pulled(self, batch: Batch, waited_seconds: float) -> None:
        """A batch is ready."""
        self.waited_seconds += waited_seconds
        self._waiting.pulled(waited_seconds)
        self.images += self._ledger.add_batch(batch)

    def stepped(self, loss: Tensor, images: int) -> None:
        """It has been trained on. images: how many of them count, 0 for filler."""
        self.losses.add(loss, images)
        self._waiting.stepped()
        self.batches += 1

    def moment(self, batches: int, now: float) -> Moment:
        """For who looks on."""
        self.told = now
        seconds = now - self._begin
        rate, share = self.images / seconds, self.waited_seconds / seconds
        return Moment(self._epoch, self.batches, batches, rate, share, self.losses.mean())

    def keep(self, keeping: Keeping, device: torch.device, *, stops: bool) -> None:
        """Have it kept, and the run end there where it ``stops``.

        That is no training and no waiting: the epoch begins so much later.
        """
        one = self.finished()
        losses, sizes = self.losses.each()
        now = self._clock()
        keeping.keep(
            Part(
                epoch=self._epoch,
                batches=self.batches,
                images=one.images,
                seconds=one.seconds,
                wait_seconds=one.wait_seconds,
                losses=losses,
                sizes=sizes,
                ledger=self._ledger.state(),
                loader=keeping.loader.state_dict(),
                random=random_states(device),
            ),
            stops=stops,
        )
        self._waiting.finish()
        self._begin += self._clock() - now

    def finished(self) -> Pass:
        """All of it as one pass; how long each batch was waited for is known of this process only."""
        self._waits += self._waiting.finish()
        seconds = self._clock() - self._begin
        waits = tuple(self._waits)
        return Pass(self.images, seconds, self._waited_before_seconds + sum(waits), waits)


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
    part: Part | None = None,
    keeping: Keeping | None = None,
    clock: Callable[[], float] = time.perf_counter,
    company: Company = ALONE,
) -> tuple[Pass, float]:
    """Train on every batch of an epoch; what it took, and the mean loss. Raises DivergedError.

    batches: how many are expected, for ``tell``, which is told a few times a second. begun: called when
    the first one is ready. part: what came of it before: the feed brings the rest. keeping: keeps it on the
    way, and raises StoppedError where the run is to end. company: the ranks that take each step together; one
    that has no batch takes part with filler, which counts nothing, until none has any.
    """
    so_far = _SoFar(epoch, part, ledger, waiting, clock)
    iterator = feed.epoch(epoch)
    filler: Batch | None = None
    is_first = True
    while True:
        before = clock()
        try:
            batch = next(iterator, None)
        except LoaderError:
            # What asked this process to end may have ended the loader's own. No batch is half trained on.
            if keeping is None or not keeping.stopping.asked or not step.between_updates:
                raise
            batch = None
        waited_seconds = clock() - before
        wish = Wish() if keeping is None else keeping.wish(clock())
        turn = company.turn(0 if batch is None else len(batch.labels), wish)
        ledger.add_faults(feed.take_faults())
        if is_first:
            # Loaders that start processes draw from torch's generator when their first batch is asked for.
            # Where none comes, what is kept must still be what was kept before.
            begin_drawing(seed, epoch, company.rank, part, step.device)
        if turn.all == 0:
            break
        if batch is None:
            batch = filler or blank(feed.work)
        elif company.size > 1:
            filler = filler or filler_like(batch)
        if is_first:
            is_first = False
            begun()
        so_far.pulled(batch, waited_seconds)
        so_far.stepped(step(batch, turn), turn.own)
        # Held on to, this batch would keep its memory from being used for the next one.
        del batch
        now = clock()
        if keeping is not None and step.between_updates and (agreed := keeping.agreed(turn, now)).keeps:
            so_far.keep(keeping, step.device, stops=agreed.stops)
        if now - so_far.told >= TELL_INTERVAL_SECONDS:
            tell(so_far.moment(batches, now))
    if so_far.batches == 0:
        raise LoaderError(f"the loader yielded no batch in epoch {epoch}")
    step.update()
    if keeping is not None and company.turn(0, keeping.wish(clock())).wish.stops:
        so_far.keep(keeping, step.device, stops=True)
    one = so_far.finished()
    ledger.end()
    return one, so_far.losses.mean()
