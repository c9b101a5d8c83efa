"""Blocks of configurations: each in a fresh process, by the machinery that measures everything else."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import count
from pathlib import Path

from throughput.contracts import Progress
from throughput.errors import WAYS_ON
from throughput.measure.budget import Budget
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Block, Plan
from throughput.measure.run import measure
from throughput.results import Row
from throughput.tuning.blocks import Measure
from throughput.tuning.configuration import Configuration
from throughput.tuning.limits import Limits
from throughput.tuning.trial import Outcome

_EPOCHS = 10_000
"""More than a block can touch: each block reads another stretch of the data than the one before."""


def run_block(
    nursery: Nursery,
    plan: Plan,
    configuration: Configuration,
    budget: Budget,
    number: int,
    progress: Progress,
) -> Row:
    """One block of the plan, run as the configuration says; nothing is judged, and no training is kept."""
    with tempfile.TemporaryDirectory(prefix="tp-") as scratch:
        block = Block(
            replace(configuration.applied(plan), budget=budget),
            number=0,
            first_epoch=number * _EPOCHS,
            state=Path(scratch, "state.pt"),
            last=False,
        )
        return measure(nursery, block, progress)


def measuring(nursery: Nursery, plan: Plan, limits: Limits, progress: Progress) -> Measure:
    """What a search calls. plan: of one phase. progress: told of each block, its configuration in words."""
    numbers = count(1)

    def measured(configuration: Configuration, seconds: float) -> Outcome:
        def tell(text: str, done: float, total: float | None) -> None:
            progress(f"{configuration.words}: {text}", done, total)

        tell("starting", 0, None)
        budget = Budget(seconds=seconds, repeats=1)
        return outcome_of(run_block(nursery, plan, configuration, budget, next(numbers), tell), limits)

    return measured


def reason_of(row: Row) -> str:
    """Why a row was not measured, without the advice to leave out samples: a search has no such option."""
    return (row.reason or "it was not measured").removesuffix(f"; {WAYS_ON}")


def outcome_of(row: Row, limits: Limits) -> Outcome:
    """What a block's row says of its configuration."""
    phase = row.train or row.load
    if row.status != "ok" or phase is None:
        return Outcome(None, reason_of(row))
    (measured,) = phase.passes
    if not measured.images:
        return Outcome(None, "no image of its pass counted")
    return Outcome(measured, _fault(row, limits), row.cpu_utilisation, row.peak_rss_bytes, row.warnings)


def _fault(row: Row, limits: Limits) -> str | None:
    """Why what was measured must not be chosen, or None."""
    if row.ledger is not None and not row.ledger.exact:
        return "its images are miscounted: `throughput bench` tells how"
    return None if row.peak_rss_bytes is None else limits.exceeded(row.peak_rss_bytes)
