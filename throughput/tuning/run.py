"""One search from beginning to end: a block that does not count, the search, its certificate, the grid."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from throughput.contracts import Progress
from throughput.errors import NothingMeasuredError, OptionError
from throughput.measure.budget import Budget
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Certification, Plan
from throughput.measure.run import certify
from throughput.results import Certificate
from throughput.tuning.blocks import Found
from throughput.tuning.configuration import Configuration
from throughput.tuning.grid import measure_grid
from throughput.tuning.limits import Limits
from throughput.tuning.measuring import measuring, reason_of, run_block
from throughput.tuning.search import pass_lengths, search
from throughput.tuning.space import Space
from throughput.tuning.trial import Trial
from throughput.tuning.tuned import Tuning

_UNCERTIFIED = Certificate(None, reason="its certificate was left out on request")


@dataclass(frozen=True)
class Task:
    """What is to be searched. plan: of one phase, without what is searched. known: what is told so far.

    command_of: the command line that runs a configuration. own_data: certify by the work's own images too.
    """

    plan: Plan
    space: Space
    limits: Limits
    known: Tuning
    command_of: Callable[[Configuration], str]
    own_data: bool
    certified: bool
    exhaustive: bool


def run_task(task: Task, progress: Progress, on_result: Callable[[Tuning], None]) -> Tuning:
    """Search, certify what was chosen, and measure the grid if asked for; ``on_result`` hears of each step.

    Raises what ``search`` raises, and OptionError for input that the loader refuses.
    """
    with Nursery() as nursery:
        known = _prepared(task, nursery, progress)
        on_result(known)
        found = search(
            task.space,
            measuring(nursery, task.plan, task.limits, _of(known.budget_seconds, progress)),
            known.budget_seconds,
            seed=task.plan.work.seed,
            on_block=lambda so_far: on_result(_told(task, known, so_far)),
        )
        known = replace(_told(task, known, found), finished=True)
        on_result(known)
        known = _certified(task, known, nursery, progress)
        on_result(known)
        if task.exhaustive:
            known = _with_grid(task, known, nursery, progress)
            on_result(known)
    return known


def _prepared(task: Task, nursery: Nursery, progress: Progress) -> Tuning:
    """After a first block, in which data is converted, kernels are compiled and files are first read."""
    begin = time.monotonic()
    budget = Budget(seconds=pass_lengths(task.known.budget_seconds).first, repeats=1)
    row = run_block(nursery, task.plan, task.space.start, budget, 0, progress)
    if row.status == "skipped":
        raise NothingMeasuredError(f"{row.loader} cannot run here: {reason_of(row)}")
    if row.bad_input:
        raise OptionError(f"{row.loader}: {reason_of(row)}")
    return replace(
        task.known,
        preparation_seconds=time.monotonic() - begin,
        preparation=row.prepare,
    )


def _told(task: Task, known: Tuning, found: Found) -> Tuning:
    tried = {trial.configuration for trial in found.trials}
    return replace(
        known,
        spent_seconds=found.spent_seconds,
        choice=found.choice,
        command_to_use=None if found.choice is None else task.command_of(found.choice.configuration),
        trials=(*found.trials, *(Trial(one, dropped=why) for one, why in task.space.too_large.items())),
        untried=sum(one not in tried for one in task.space.grid),
        warnings=tuple(_remarks(found.trials)),
    )


def _remarks(trials: Sequence[Trial]) -> Iterator[str]:
    """What cast doubt on blocks; what differs in its figures alone is told once, with their number."""
    alike: dict[str, list[str]] = {}
    for warning in (warning for trial in trials for warning in trial.warnings):
        alike.setdefault(re.sub(r"[\d.,]+", "0", warning), []).append(warning)
    blocks = sum(len(trial.passes) for trial in trials)
    for warnings in alike.values():
        yield f"in {len(warnings)} of {blocks} blocks: {warnings[-1]}"


def _certified(task: Task, known: Tuning, nursery: Nursery, progress: Progress) -> Tuning:
    """With the certificate of the loader as it was chosen."""
    if not task.certified or known.chosen is None:
        return replace(known, certificate=_UNCERTIFIED)
    begin = time.monotonic()
    plan = known.chosen.applied(task.plan)
    progress(f"certifying {plan.loader}", 0, None)
    certification = Certification(plan.loader, plan.options, plan.work, task.own_data, recertify=False)
    made = certify(nursery, certification, progress)
    return replace(known, certificate=made, certificate_seconds=time.monotonic() - begin)


def _with_grid(task: Task, known: Tuning, nursery: Nursery, progress: Progress) -> Tuning:
    """With the whole grid, as long and as often as any measurement."""
    assert known.chosen is not None, "the search has found one"
    budget = Budget()
    passes = [one.seconds for trial in known.trials for one in trial.passes]
    block_seconds = budget.seconds + (known.spent_seconds - sum(passes)) / len(passes)
    whole_seconds = block_seconds * budget.repeats * len(task.space.grid)
    measure = measuring(nursery, task.plan, task.limits, _of(whole_seconds, progress))
    grid = measure_grid(task.space.grid, known.chosen, measure, budget=budget, seed=task.plan.work.seed)
    return replace(known, grid=grid)


def _of(whole_seconds: float, progress: Progress) -> Progress:
    """What a block tells of itself, set among all that are expected to take so long."""
    begin = time.monotonic()

    def tell(text: str, done: float, total: float | None) -> None:  # noqa: ARG001 - of the block alone
        progress(text, min(time.monotonic() - begin, whole_seconds), whole_seconds)

    return tell
