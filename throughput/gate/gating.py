"""Both sides of a change, measured in turn until it is known whether the head is slower."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from throughput.command_line import command_line
from throughput.contracts import Progress, no_progress
from throughput.errors import NothingMeasuredError, OptionError
from throughput.gate.arms import Arm, ArmError, Side, running
from throughput.gate.turns import Turns, measure_in_turns, undecided
from throughput.judgement import Decision
from throughput.results import Results

Clock = Callable[[], float]
_NO_TESTS = (4, 5)
"""Statuses of pytest where what was named does not exist, or holds no test."""


@dataclass(frozen=True)
class Gate:
    """What to measure. pytest_arguments: which tests, and whatever else pytest takes.

    margin: by which share of the base's rate the head may be slower, 0..1, where a test's mark does not say.
    budget_seconds: by the clock, from the start of both sessions to the last decision. seconds: of a round's
    pass.
    """

    base: Side
    head: Side
    pytest_arguments: tuple[str, ...] = ()
    margin: float = 0.05
    budget_seconds: float = 300.0
    seconds: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise OptionError(
                f"--fail-below must lie between 0 and 100 %, and be neither, got {100 * self.margin:g} %: "
                "two measurements are never quite the same"
            )
        if not 0 < self.seconds < float("inf"):
            raise OptionError(f"--seconds must be a number above 0, got {self.seconds:g}")


def gate(plan: Gate, progress: Progress = no_progress, clock: Clock = time.monotonic) -> tuple[Results, ...]:
    """A run for each test, with its decision and the rows of base and head.

    A test that only one side has is undecided. Raises ThroughputError where the head cannot be started or a
    side takes its code from the other's folder, and NothingMeasuredError where nothing was measured.
    """
    begin = clock()
    arguments = (*plan.pytest_arguments, "--throughput-seconds", str(plan.seconds))
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tp-")))
        progress("starting both test sessions", 0, None)
        base = stack.enter_context(running(plan.base, plan.head, arguments, scratch))
        head = stack.enter_context(running(plan.head, plan.base, arguments, scratch))
        of_base, why_none = _collected_of_base(base)
        of_head = _collected(head)
        if not of_head:
            raise NothingMeasuredError(
                f"no test of {plan.head.folder} measures anything: one does by asking for loader_benchmark, "
                "train_benchmark or infer_benchmark; name tests, or `-- --pyargs throughput.ci`"
            )
        tests = [test for test in of_head if test in of_base]
        listening = (base, head) if of_base else (head,)
        for arm in listening:
            arm.tell(run=tests)
        runs: list[Results] = []

        def tell(text: str) -> None:
            progress(text, min(clock() - begin, plan.budget_seconds), plan.budget_seconds)

        for number, test in enumerate(tests):
            now = clock()
            share = max(0.0, begin + plan.budget_seconds - now) / (len(tests) - number)
            turns = Turns(
                test,
                (base, head),
                1 - plan.margin,
                now + share,
                plan.seconds,
                scratch,
                random.Random(plan.seed + number),
                clock,
                _of(test, tell),
            )
            try:
                runs.append(measure_in_turns(turns))
            except ArmError as error:
                # What was decided before stays; nothing can be said of what would have come.
                decision: Decision = "failed" if error.side == plan.head else "undecided"
                runs.append(undecided(test, 1 - plan.margin, decision, str(error)))
                runs += [
                    undecided(other, 1 - plan.margin, "undecided", "a test session had ended before")
                    for other in tests[number + 1 :]
                ]
                break
        else:
            for arm in listening:
                arm.finish()
    missing = [(test, why_none or "only the head has this test") for test in of_head if test not in of_base]
    missing += [(test, "only the base has this test") for test in of_base if test not in of_head]
    runs += [undecided(test, 1 - plan.margin, "undecided", reason) for test, reason in missing]
    command, created = command_line(), datetime.now(UTC).isoformat(timespec="seconds")
    return tuple(replace(run, command=command, created=created) for run in runs)


def _of(test: str, tell: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: tell(f"{test}: {text}")


def _collected(arm: Arm) -> Sequence[str]:
    """The tests of an arm that measure something. Raises ArmError where some could not be looked at."""
    said = arm.heard()
    if said["errors"]:
        raise ArmError(
            f"the tests of --{arm.side.name} {arm.side.folder} cannot be collected: "
            f"{'; '.join(said['errors'])}",
            arm.side,
        )
    return list(said["tests"])


def _collected_of_base(base: Arm) -> tuple[Sequence[str], str | None]:
    """As ``_collected``; nothing, and why, where a base is as a change may well mend it."""
    try:
        return _collected(base), None
    except ArmError as error:
        status = base.process.poll()
        if status is None or status in _NO_TESTS:
            return (), f"only the head has this test: {error}"
        raise
