"""Both sides of a change, measured in turn until it is known whether the head is slower."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from throughput.contracts import Progress, no_progress
from throughput.errors import NothingMeasuredError, OptionError
from throughput.gate.arms import Arm, ArmError, Side, running
from throughput.gate.turns import Turns, measure_in_turns
from throughput.results import Results

Clock = Callable[[], float]


@dataclass(frozen=True)
class Gate:
    """What to measure. pytest_arguments: which tests, and whatever else pytest takes.

    margin: by which share of the base's rate the head may be slower, 0..1, where a test's mark does not say.
    budget_seconds: by the clock, from the start of both sessions to the last decision.
    """

    base: Side
    head: Side
    pytest_arguments: tuple[str, ...] = ()
    margin: float = 0.05
    budget_seconds: float = 300.0
    seconds: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise OptionError(f"--fail-below must lie between 0 and 100 %, got {100 * self.margin:g} %")
        for name, value in (("--budget", self.budget_seconds), ("--seconds", self.seconds)):
            if not 0 < value < float("inf"):
                raise OptionError(f"{name} must be a number of seconds above 0, got {value:g}")


@dataclass(frozen=True)
class Gated:
    """runs: one for each test that both sides have, with its decision and the rows of base and head.

    only_base, only_head: tests of which the other side knows nothing.
    """

    runs: tuple[Results, ...]
    only_base: tuple[str, ...]
    only_head: tuple[str, ...]


def gate(plan: Gate, progress: Progress = no_progress, clock: Clock = time.monotonic) -> Gated:
    """Measure both sides of each test in turn.

    Raises ThroughputError where a side cannot be started, ends, or takes its code from the other's folder,
    and NothingMeasuredError where no test measures anything.
    """
    begin = clock()
    arguments = (*plan.pytest_arguments, "--throughput-seconds", str(plan.seconds))
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tp-")))
        progress("starting both test sessions", 0, None)
        base = stack.enter_context(running(plan.base, plan.head, arguments, scratch))
        head = stack.enter_context(running(plan.head, plan.base, arguments, scratch))
        of_base, of_head = _collected(base), _collected(head)
        tests = [test for test in of_head if test in of_base]
        if not tests:
            raise NothingMeasuredError(
                f"no test of {plan.head.folder} that {plan.base.folder} has too measures anything: a test "
                "does by asking for loader_benchmark, train_benchmark or infer_benchmark; name tests, or "
                "`-- --pyargs throughput.ci`"
            )
        for arm in (base, head):
            arm.tell(run=tests)
        runs = []
        for number, test in enumerate(tests):
            now = clock()
            share = max(0.0, begin + plan.budget_seconds - now) / (len(tests) - number)

            def tell(text: str, test: str = test) -> None:
                progress(f"{test}: {text}", min(clock() - begin, plan.budget_seconds), plan.budget_seconds)

            draw = random.Random(plan.seed + number)
            turns = Turns(test, (base, head), 1 - plan.margin, now + share, draw, clock, tell)
            runs.append(measure_in_turns(turns))
    return Gated(
        tuple(runs),
        tuple(test for test in of_base if test not in of_head),
        tuple(test for test in of_head if test not in of_base),
    )


def _collected(arm: Arm) -> list[str]:
    """The tests of an arm that measure something. Raises ArmError where some could not be looked at."""
    said = arm.heard()
    if said["errors"]:
        raise ArmError(
            f"the tests of --{arm.side.name} {arm.side.folder} cannot be collected: "
            f"{'; '.join(said['errors'])}"
        )
    return list(said["tests"])
