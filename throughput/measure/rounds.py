"""Several loaders in interleaved rounds: what drifts on the machine hits all alike.

In each round every loader has one block, in an order drawn anew and in a fresh process. Rates of one
round were measured next to each other, and are compared pair by pair.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from throughput.contracts import Progress, no_progress
from throughput.measure.merge import merge
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Block, Plan
from throughput.measure.run import measure
from throughput.results import Row

Clock = Callable[[], float]
Measure = Callable[[Nursery, Block, Progress], Row]

_BESIDE_SECONDS = 6.0
"""A first guess at what a block takes beside its passes: opening, warming up, settling."""
_UNCOUNTED_EPOCHS = 10_000
"""More than a block can touch."""


def measure_rounds(
    plans: Sequence[Plan],
    nursery: Nursery,
    progress: Progress = no_progress,
    on_block: Callable[[tuple[Row | None, ...]], None] = lambda _: None,
    clock: Clock = time.monotonic,
    go_on: Callable[[tuple[Row | None, ...]], bool] = lambda _: True,
    measure_block: Measure = measure,
) -> tuple[Row, ...]:
    """Measure all plans, ``budget.repeats`` rounds of them, and return a row for each.

    ``on_block`` is told the rows so far after each block, None for a loader that has none yet. A loader
    that fails or is skipped takes no part in later rounds. ``progress`` hears of the seconds that have
    gone by and of all that are expected. ``go_on`` is asked before each block, and told the rows so far:
    False ends the measurement there. ``measure_block`` makes a row of a block.
    """
    blocks: list[list[Row]] = [[] for _ in plans]
    rows: tuple[Row | None, ...] = (None,) * len(plans)
    remaining = _Remaining(plans, clock)
    rounds = max(plan.budget.repeats for plan in plans)
    with tempfile.TemporaryDirectory(prefix="tp-") as scratch:
        for number, place in _turns(plans, rounds):
            plan = plans[place]
            if any(block.status != "ok" for block in blocks[place]):
                remaining.drop(place)
                continue
            if not go_on(rows):
                break
            block = Block(
                plan,
                number,
                first_epoch=_next_epoch(blocks[place]),
                state=Path(scratch, f"{place}.pt"),
                last=number == plan.budget.repeats - 1,
            )
            heading = f"round {number + 1} of {rounds}, {plan.loader}"
            with remaining.block(place):
                tell = remaining.telling(progress, heading)
                tell("starting", 0, None)
                blocks[place].append(measure_block(nursery, block, tell))
            rows = tuple(merge(some) if some else None for some in blocks)
            on_block(rows)
    return tuple(row for row in rows if row is not None)


def _turns(plans: Sequence[Plan], rounds: int) -> Iterator[tuple[int, int]]:
    """(round, place of the plan) of each block, the order within a round drawn anew."""
    draw = random.Random(plans[0].work.seed)
    for number in range(rounds):
        for place in draw.sample(range(len(plans)), len(plans)):
            if number < plans[place].budget.repeats:
                yield number, place


def _next_epoch(blocks: Sequence[Row]) -> int:
    """An epoch that no block has touched: the next one, or, of a loader that is not counted, a far one."""
    ledgers = [block.ledger for block in blocks if block.ledger is not None]
    return max(
        (epoch.epoch + 1 for ledger in ledgers for epoch in ledger.epochs),
        default=_UNCOUNTED_EPOCHS * len(blocks),
    )


class _Remaining:
    """How long it has been, and how long it will be, as far as the blocks so far tell."""

    def __init__(self, plans: Sequence[Plan], clock: Clock) -> None:
        self._clock = clock
        self._begin = self._block_begin = clock()
        self._guesses = [
            len(plan.phases) * (plan.budget.seconds if plan.budget.steps is None else 1.0) + _BESIDE_SECONDS
            for plan in plans
        ]
        self._left = [plan.budget.repeats for plan in plans]
        self._spent: list[list[float]] = [[] for _ in plans]
        self._place = 0

    @contextmanager
    def block(self, place: int) -> Iterator[None]:
        """A block of the plan at ``place`` runs inside."""
        self._place, self._block_begin = place, self._clock()
        yield
        self._spent[place].append(self._clock() - self._block_begin)
        self._left[place] -= 1

    def drop(self, place: int) -> None:
        """There will be no more blocks of that plan."""
        self._left[place] = 0

    def telling(self, progress: Progress, heading: str) -> Progress:
        """What a block tells of itself, set among all blocks."""

        def tell(text: str, done: float, total: float | None) -> None:
            now = self._clock()
            share = f" {100 * done / total:.0f}%" if total else ""
            all_seconds = now - self._begin + self._remaining_seconds(now)
            progress(f"{heading}: {text}{share}", now - self._begin, all_seconds)

        return tell

    def _remaining_seconds(self, now: float) -> float:
        known = [seconds for spent in self._spent for seconds in spent]
        remaining = 0.0
        for place, left in enumerate(self._left):
            if self._spent[place]:
                each = statistics.fmean(self._spent[place])
            else:
                each = statistics.fmean(known) if known else self._guesses[place]
            remaining += each * left
            if place == self._place and left:
                remaining -= min(each, now - self._block_begin)
        return remaining
