"""A phase: warm up, then measure passes over a stream of ready batches.

One loop serves all three phases. The loader alone is a stream with a step that does nothing, the model
alone is a replayed stream with the training step, both together are the loader's stream with that step.
"""

from __future__ import annotations

from collections.abc import Callable

from throughput.contracts import Batch
from throughput.measure.budget import Budget
from throughput.measure.stream import Clock, LoaderStream, Stream
from throughput.measure.waiting import Waiting
from throughput.ranks.company import ALONE
from throughput.ranks.pace import Pace
from throughput.results import Pass

Step = Callable[[Batch], object]
Tick = Callable[[float], None]
"""Told after each batch how many passes are done, as a fraction."""


def run_passes(
    stream: Stream,
    step: Step,
    waiting: Waiting,
    budget: Budget,
    clock: Clock,
    tick: Tick = lambda _: None,
    pace: Pace | None = None,
) -> tuple[Pass, ...]:
    """Warm up, then measure ``budget.repeats`` passes that follow each other without a break.

    pace: how they begin and end in several ranks; None: this process is alone.
    """
    pace = pace or ALONE.pace(in_step=False)
    for _ in range(budget.warmup_steps):
        batch = stream.pull().batch
        waiting.pulled(0.0)
        step(batch)
        waiting.stepped()
        del batch
    waiting.finish()
    passes = []
    for number in range(budget.repeats):
        pace.begin()
        passes.append(_run_pass(stream, step, waiting, budget, clock, tick, number, is_last=pace.over))
    return tuple(passes)


def run_epoch(
    stream: LoaderStream,
    step: Step,
    waiting: Waiting,
    budget: Budget,
    clock: Clock,
    begin: float,
    samples: int,
) -> Pass:
    """One pass from ``begin``, a reading of the clock before the loader was opened, with nothing warmed up.

    It ends with the epoch's ``samples`` (0: it is not known), at the latest when the next epoch begins, or
    with the batch that reaches the budget.
    """
    following = stream.next_epoch + 1

    def is_over(samples_so_far: int) -> bool:
        return bool(samples) and samples_so_far >= samples

    def is_beyond() -> bool:
        return stream.next_epoch > following

    return _run_pass(stream, step, waiting, budget, clock, lambda _: None, 0, begin, is_over, is_beyond)


def _run_pass(
    stream: Stream,
    step: Step,
    waiting: Waiting,
    budget: Budget,
    clock: Clock,
    tick: Tick,
    number: int,
    begin: float | None = None,
    is_over: Callable[[int], bool] = lambda _: False,
    is_beyond: Callable[[], bool] = lambda: False,
    is_last: Callable[[bool], bool] = lambda over: over,
) -> Pass:
    if begin is None:
        begin = clock()
    images = samples = batches = 0
    begins: list[float] = []
    end = None
    while True:
        before = clock()
        batch, fresh, wait_seconds, came = stream.pull()
        if is_beyond():
            end = before  # the batch is of another epoch
            break
        begins.append(before - begin)
        waiting.pulled(wait_seconds)
        samples += came
        step(batch)
        waiting.stepped()
        # Held on to, this batch would keep its memory from being used for the next one.
        del batch
        images += fresh
        batches += 1
        share = batches / budget.steps if budget.steps else (clock() - begin) / budget.seconds
        tick(number + min(share, 1.0))
        if is_last(share >= 1 or is_over(samples)):
            break
    waits = waiting.finish()
    return Pass(images, (end or clock()) - begin, sum(waits), waits, batch_begin_seconds=tuple(begins))
