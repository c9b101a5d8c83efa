"""Base and head measured next to each other, once each.

What drifts on a machine within a second is as large as what a gate looks for. So both are open at the same
time, and take turns of a fraction of a second: the processes of one stand still (SIGSTOP) while those of the
other run. Each reads a clock that stands still with it. What may not be measured so is measured from its
beginning to its end, one side after the other.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from throughput.gate.arms import Arm, ArmError
from throughput.gate.idleness import Idleness, Seen, apart_from, is_known, runnable_seconds
from throughput.measure.stoppable import StoodStill

TURN_SECONDS = (0.025, 0.075)
"""Long beside what stopping and going on cost; short beside what drifts. Drawn anew each time, as is who
comes first: what has a period of its own, as a quota of CPU time in each tenth of a second, would else hit
one side."""
_LOOK_SECONDS = 0.02
"""A span of time in which it is seen whether processes wait."""
_MOST_LOOKS = 3000
"""In a minute: by then it is seen."""
_TURNS_A_LOOK = 5
"""Looking takes a millisecond or two, in which both sides stand still."""


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
    """Of base and of head. rounds: None where the loader failed, or nothing counted. seen: of what they wait
    for. obstacle: why the two may not take turns, whatever they wait for; None where they may.
    """

    rounds: tuple[Round | None, Round | None]
    seen: tuple[Seen, Seen] = (Seen(), Seen())
    obstacle: str | None = None


def one_after_the_other(
    arms: Sequence[Arm], length: Length, head_first: bool, patience_seconds: float | None
) -> Pair:
    """Measure each from beginning to end. patience_seconds: for each; None: as long as it takes."""
    rounds: list[Round | None] = [None, None]
    for place in _order(head_first):
        arms[place].tell(go=True, clock=None, **vars(length))
        rounds[place] = _round(arms[place], patience_seconds)
    return Pair((rounds[0], rounds[1]))


def looked_at(arms: Sequence[Arm], length: Length, head_first: bool, scratch: Path) -> Pair:
    """The same, seeing whether the two may take turns: nothing is stopped. Raises ArmError."""
    rounds: list[Round | None] = [None, None]
    seen = [Seen(), Seen()]
    obstacles: list[str | None] = [None, None]
    for place in _order(head_first):
        arm = arms[place]
        with _clocks((arm,), scratch) as (clock,):
            arm.tell(go=True, clock=str(clock.path), **vars(length))
            runner = _runner(arm, clock, None)
            if runner is not None:
                arm.tell(begin=True)
                runner.look_on()
                seen[place], obstacles[place] = runner.idleness.seen, _obstacle(runner)
            rounds[place] = _round(arm, None)
    return Pair((rounds[0], rounds[1]), (seen[0], seen[1]), next(filter(None, obstacles), None))


def side_by_side(
    arms: Sequence[Arm], length: Length, draw: random.Random, patience_seconds: float | None, scratch: Path
) -> Pair:
    """Open both, then measure them in turns. scratch: a folder of this user's own. Raises ArmError."""
    with _clocks(arms, scratch) as clocks:
        for arm, clock in zip(arms, clocks, strict=True):
            arm.tell(go=True, clock=str(clock.path), **vars(length))
        runners = [_runner(arm, clock, patience_seconds) for arm, clock in zip(arms, clocks, strict=True)]
        open_ones = [runner for runner in runners if runner is not None]
        with _stopped(open_ones):
            for runner in open_ones:
                runner.arm.tell(begin=True)
            if len(open_ones) == len(arms):
                _take_turns(open_ones, draw, patience_seconds)
        rounds = [_round(arm, patience_seconds) for arm in arms]
        seen = [Seen() if runner is None else runner.idleness.seen for runner in runners]
        obstacle = next(filter(None, map(_obstacle, open_ones)), None)
        return Pair((rounds[0], rounds[1]), (seen[0], seen[1]), obstacle)


def _order(head_first: bool) -> tuple[int, int]:
    return (1, 0) if head_first else (0, 1)


@contextmanager
def _clocks(arms: Sequence[Arm], scratch: Path) -> Iterator[list[StoodStill]]:
    paths = [scratch / f"{arm.side.name}.clock" for arm in arms]
    try:
        yield [StoodStill(path) for path in paths]
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _runner(arm: Arm, clock: StoodStill, patience_seconds: float | None) -> _Runner | None:
    """An arm that was told to go, once its loader is open; None where it failed."""
    said = arm.heard(patience_seconds)
    if said["kind"] == "opened":
        return _Runner(arm, said["group"], clock)
    arm.put_back(said)
    return None


class _Runner:
    """The processes of one side, a group that stands still or runs."""

    def __init__(self, arm: Arm, group: int, clock: StoodStill) -> None:
        self.arm = arm
        self.apart = apart_from(group)
        self.is_over = False
        self._group = group
        self._clock = clock
        self._since: float | None = None
        self._looks = False
        self.idleness = Idleness(runnable_seconds(group))

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)
        self._since = time.perf_counter()

    def go_on(self) -> None:
        if self._since is not None:
            self._clock.add(time.perf_counter() - self._since)
            self._since = None
        self._signal(signal.SIGCONT)

    def run(self, seconds: float, *, look: bool) -> None:
        """Let it run for so long, or until it has been measured just now. look: see whether it waits."""
        if self._looks and not self.is_over:
            # Not before: the kernel books a wait for a core when it is over, if only to be stopped.
            self.idleness.end(self._since)
        self._looks = look
        if look and not self.is_over:
            self.idleness.begin()
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

    def look_on(self) -> None:
        """See whether it waits until it has been measured, for a minute at most; it runs."""
        self.idleness.begin()
        for _ in range(_MOST_LOOKS):
            is_over = self.arm.has_word(_LOOK_SECONDS)
            self.idleness.end()
            if is_over:
                break
        self._hear()

    def _hear(self) -> None:
        said = self.arm.heard()
        if said["kind"] != "measured":
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
    runners: Sequence[_Runner],
    draw: random.Random,
    patience_seconds: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Until both have been measured.

    One that is through still has its turns: it may hold what the other waits for. Raises ArmError.
    """
    begin = clock()
    for number in count():
        seconds = draw.uniform(*TURN_SECONDS)
        for runner in draw.sample(runners, len(runners)):
            runner.run(seconds, look=number % _TURNS_A_LOOK == 0)
            if all(other.is_over for other in runners):
                return
        if patience_seconds is not None and clock() - begin > patience_seconds:
            side = next(runner.arm.side for runner in runners if not runner.is_over)
            raise ArmError(
                f"the tests of --{side.name} {side.folder} do not come to an end: a round of {side.name} "
                f"takes over {patience_seconds:.0f} s, and the first one did not",
                side,
            )


def _obstacle(runner: _Runner) -> str | None:
    name, apart = runner.arm.side.name, runner.apart
    if apart:
        where = "is in a group of its" if apart == 1 else "are in groups of their"
        return f"{apart} of {name}'s processes {where} own, and would run on"
    return None if is_known() else f"this kernel does not tell whether the processes of {name} wait"


def _round(arm: Arm, patience_seconds: float | None) -> Round | None:
    said = arm.heard(patience_seconds)
    if said["kind"] == "measured":
        said = arm.heard(patience_seconds)
    if said["kind"] != "round":
        arm.put_back(said)
        return None
    return Round(said["images"], said["batches"], said["seconds"]) if said["images"] else None
