"""Base and head measured next to each other, once each.

What drifts on a machine within a second is as large as what a gate looks for. So both are open at the same
time, and take turns of a fraction of a second: the processes of one stand still (SIGSTOP) while those of the
other run. Each reads a clock that stands still with it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from throughput.gate.arms import Arm, ArmError
from throughput.measure.stoppable import StoodStill

TURN_SECONDS = 0.05
"""Long beside what goes on by itself while a process stands still, such as a read that comes to its end;
short beside what drifts. With noisy neighbours, the ratio of two passes of 2 s varied by 2.1 % with turns of
0.03 s, by 3.0 % with 0.1 s, and by 9.8 % with 0.5 s."""
BUSY = 0.8
"""Processes that are busy for so much of their time gain little by what goes on while they stand still."""


@dataclass(frozen=True)
class Length:
    """Of a pass: seconds, or batches in their place."""

    seconds: float
    steps: int | None = None


@dataclass(frozen=True)
class Round:
    """What one side did."""

    images: int
    batches: int
    seconds: float


@dataclass(frozen=True)
class Pair:
    """Of base and of head; None where the loader failed, or nothing counted.

    obstacle: why the two should not take turns, as they showed by doing so; None where they may.
    """

    rounds: tuple[Round | None, Round | None]
    obstacle: str | None = None


def one_after_the_other(
    arms: Sequence[Arm], length: Length, head_first: bool, patience_seconds: float | None
) -> Pair:
    """Measure each from beginning to end. patience_seconds: for each; None: as long as it takes."""
    rounds: list[Round | None] = [None, None]
    for place in (1, 0) if head_first else (0, 1):
        arms[place].tell(go=True, clock=None, **vars(length))
        rounds[place] = _round(arms[place], patience_seconds)
    return Pair((rounds[0], rounds[1]))


def side_by_side(
    arms: Sequence[Arm], length: Length, head_first: bool, patience_seconds: float | None, scratch: Path
) -> Pair:
    """Open both, then measure them in turns. scratch: a folder of this user's own. Raises ArmError."""
    paths = [scratch / f"{arm.side.name}.clock" for arm in arms]
    try:
        clocks = [StoodStill(path) for path in paths]
        for arm, path in zip(arms, paths, strict=True):
            arm.tell(go=True, clock=str(path), **vars(length))
        said = [arm.heard(patience_seconds) for arm in arms]
        opened = [one["kind"] == "opened" for one in said]
        runners = [
            _Runner(arm, one, clock)
            for arm, one, clock, is_open in zip(arms, said, clocks, opened, strict=True)
            if is_open
        ]
        for arm, one, is_open in zip(arms, said, opened, strict=True):
            if not is_open:
                arm.put_back(one)
        with _stopped(runners):
            for runner in runners:
                runner.arm.tell(begin=True)
            if all(opened):
                _take_turns(runners[::-1] if head_first else runners, patience_seconds)
        rounds = [_round(arm, patience_seconds) for arm in arms]
        return Pair((rounds[0], rounds[1]), next(filter(None, map(_obstacle, runners)), None))
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


class _Runner:
    """The processes of one side. opened: what it said of them."""

    def __init__(self, arm: Arm, opened: Mapping[str, Any], clock: StoodStill) -> None:
        self.arm = arm
        self.opened = opened
        self.is_over = False
        self.busy: float | None = None
        self._group: int = opened["group"]
        self._clock = clock
        self._since: float | None = None

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)
        self._since = time.perf_counter()

    def go_on(self) -> None:
        if self._since is not None:
            self._clock.add(time.perf_counter() - self._since)
            self._since = None
        self._signal(signal.SIGCONT)

    def run(self, seconds: float) -> None:
        """Let it run for so long, or until it has been measured just now."""
        end = time.perf_counter() + seconds
        self.go_on()
        while (left_seconds := end - time.perf_counter()) > 0:
            if self.is_over:
                time.sleep(left_seconds)
            elif self.arm.has_word(left_seconds):
                self.is_over = True
                self._hear()
                break
        self.stop()

    def _hear(self) -> None:
        said: dict[str, Any] = self.arm.heard()
        if said["kind"] == "measured":
            self.busy = said["busy"]
        else:
            self.arm.put_back(said)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has ended, of which its session will tell
            os.killpg(self._group, number)


@contextmanager
def _stopped(runners: Sequence[_Runner]) -> Iterator[None]:
    """None of them runs at first, and all do in the end."""
    try:
        for runner in runners:
            runner.stop()
        yield
    finally:
        for runner in runners:
            runner.go_on()


def _take_turns(
    runners: Sequence[_Runner], patience_seconds: float | None, clock: Callable[[], float] = time.monotonic
) -> None:
    """Until both have been measured; each comes first as often as the other.

    One that is through still has its turns: it may hold what the other waits for. Raises ArmError.
    """
    begin = clock()
    order = list(runners)
    while not all(runner.is_over for runner in order):
        for runner in order:
            runner.run(TURN_SECONDS)
            if all(other.is_over for other in order):
                break
        order.reverse()
        if patience_seconds is not None and clock() - begin > patience_seconds:
            side = next(runner.arm.side for runner in order if not runner.is_over)
            raise ArmError(
                f"the tests of --{side.name} {side.folder} do not come to an end: a round of {side.name} "
                f"takes over {patience_seconds:.0f} s, and the first one did not",
                side,
            )


def _obstacle(runner: _Runner) -> str | None:
    name, busy = runner.arm.side.name, runner.busy
    if apart := runner.opened["apart"]:
        return f"{apart} processes of {name} are in a group of their own, and would run on"
    if not runner.opened["busy_is_known"]:
        return f"it cannot be told how busy the processes of {name} are"
    if busy is not None and busy < BUSY:
        return f"{name} uses a core for {busy:.0%} of the time only, and what it waits for would go on"
    return None


def _round(arm: Arm, patience_seconds: float | None) -> Round | None:
    said = arm.heard(patience_seconds)
    if said["kind"] == "measured":
        said = arm.heard(patience_seconds)
    if said["kind"] != "round":
        arm.put_back(said)
        return None
    return Round(said["images"], said["batches"], said["seconds"]) if said["images"] else None
