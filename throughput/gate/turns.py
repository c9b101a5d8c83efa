"""One test, measured in both arms in turn."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from throughput.differences import describe_difference, work_differences
from throughput.errors import ThroughputError
from throughput.gate.arms import Arm
from throughput.gate.decision import FEWEST_PAIRS, decide, error_at, is_look
from throughput.judgement import Decision
from throughput.results import GateDecision, PhaseName, Results
from throughput.results_reading import results_of

Clock = Callable[[], float]
_WHERE_IT_LIES = ("source", "source_fingerprint")
"""Differs between two checkouts of the same images."""


@dataclass(frozen=True)
class Turns:
    """How to measure a test. arms: base, head. least_ratio: where the test's own mark does not say.

    deadline_seconds: by the clock, when the last round should be over. tell: hears how far it is.
    """

    test: str
    arms: tuple[Arm, Arm]
    least_ratio: float
    deadline_seconds: float
    draw: random.Random
    clock: Clock
    tell: Callable[[str], None]


@dataclass(frozen=True)
class _Ready:
    """An arm that will measure as soon as it is told. run: has no rows yet."""

    phase: PhaseName
    min_ratio: float | None
    run: Results
    strangers: tuple[str, ...]


@dataclass(frozen=True)
class _Ended:
    """An arm that is through with a test. reason: of pytest, where the test did not pass."""

    outcome: str
    reason: str
    run: Results | None = None


@dataclass(frozen=True)
class _Pairs:
    """Images per second of each round, of so many as were planned, and what they say."""

    base: list[float]
    head: list[float]
    decision: Decision = "undecided"
    planned: int = FEWEST_PAIRS


def measure_in_turns(turns: Turns) -> Results:
    """The run of one test: the rows of base and head, and the decision.

    Raises ArmError where a test session ends, and ThroughputError where one takes its code from the other.
    """
    ready = [_ready(arm, turns.test) for arm in turns.arms]
    both = [one for one in ready if isinstance(one, _Ready)]
    if len(both) < len(ready):
        return _told(turns, both, _stopped(turns, ready), reason=None, pairs=_Pairs([], []))
    for arm, one in zip(turns.arms, both, strict=True):
        _require_own_code(arm, one)
    reason = _other_work(*both)
    pairs = _Pairs([], []) if reason else _pairs(turns, both[1].min_ratio or turns.least_ratio)
    return _told(turns, both, _stopped(turns, ready), reason, pairs)


def _ready(arm: Arm, test: str) -> _Ready | _Ended:
    broken = None
    while True:
        said = arm.heard()
        if said.get("test") != test:
            continue  # the last words about the test before
        match said["kind"]:
            case "ready":
                run = results_of(f"what {arm.side.name} said of {test}", said["results"])
                return _Ready(said["phase"], said["min_ratio"], run, tuple(said["strangers"]))
            case "broken":
                broken = said["reason"]
            case "ended":
                return _Ended(said["outcome"], broken or said["reason"])


def _stopped(turns: Turns, ready: list[_Ready | _Ended]) -> list[_Ended]:
    """Both arms once they are through with the test."""
    for arm, one in zip(turns.arms, ready, strict=True):
        if isinstance(one, _Ready):
            arm.tell(go=False)
    return [
        one if isinstance(one, _Ended) else _ended(arm, turns.test)
        for arm, one in zip(turns.arms, ready, strict=True)
    ]


def _ended(arm: Arm, test: str) -> _Ended:
    run = broken = None
    while True:
        said = arm.heard()
        match said["kind"]:
            case "done":
                run = results_of(f"what {arm.side.name} measured in {test}", said["results"])
            case "broken":
                broken = said["reason"]
            case "ended":
                return _Ended(said["outcome"], broken or said["reason"], run)


def _require_own_code(arm: Arm, ready: _Ready) -> None:
    if ready.strangers:
        raise ThroughputError(
            f"the tests of --{arm.side.name} {arm.side.folder} import {', '.join(ready.strangers[:5])} from "
            "the other side's folder, so both would measure the same code: install neither in editable mode, "
            "or give each a Python of its own (--base-python)"
        )


def _other_work(base: _Ready, head: _Ready) -> str | None:
    """Why the two rates could not be compared, or None."""
    if base.phase != head.phase:
        return f"base measures the phase {base.phase}, and head {head.phase}"
    differences = [
        describe_difference(one)
        for one in work_differences(base.run.work, head.run.work)
        if one.name not in _WHERE_IT_LIES
    ]
    if not differences:
        return None
    return f"base (A) and head (B) do not do the same work: {'; '.join(differences)}"


def _pairs(turns: Turns, least_ratio: float) -> _Pairs:
    """Rounds in turn, each arm first as often as the other, until it is decided or time is up."""
    turns.tell("first rounds, which do not count")
    # Files are read, and code is compiled, for the first time: in both arms at once, as nothing is timed.
    if None in _rounds(turns.arms):
        return _Pairs([], [])
    rates: dict[str, list[float]] = {arm.side.name: [] for arm in turns.arms}
    base, head = rates.values()
    spent: list[float] = []
    planned = FEWEST_PAIRS
    first = turns.draw.randrange(2)
    while True:
        begin = turns.clock()
        order = (0, 1) if (first + len(spent)) % 2 == 0 else (1, 0)
        for place in order:
            arm = turns.arms[place]
            (rate,) = _rounds([arm])
            if rate is None:
                return _Pairs(base, head, planned=planned)
            rates[arm.side.name].append(rate)
        spent.append(turns.clock() - begin)
        left_seconds = turns.deadline_seconds - turns.clock()
        if len(spent) == 1:
            planned = max(FEWEST_PAIRS, 1 + int(left_seconds / spent[0]))
        is_last = len(spent) >= planned or left_seconds < statistics.fmean(spent)
        if len(spent) >= FEWEST_PAIRS and (is_look(len(spent), planned) or is_last):
            decision, ratio = decide(base, head, least_ratio, planned)
            turns.tell(
                f"{len(spent)} pairs, {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]: {decision}"
            )
            if decision != "undecided":
                return _Pairs(base, head, decision, planned)
        else:
            turns.tell(f"{len(spent)} pairs")
        if is_last:
            return _Pairs(base, head, planned=planned)


def _rounds(arms: Sequence[Arm]) -> list[float | None]:
    """Images per second of a round of each, all at once; None where a loader failed or nothing counted."""
    for arm in arms:
        arm.tell(go=True)
    rates: list[float | None] = []
    for arm in arms:
        said = arm.heard()
        if said["kind"] == "round":
            rates.append(said["images"] / said["seconds"] if said["images"] else None)
        else:
            arm.put_back(said)
            rates.append(None)
    return rates


def _told(
    turns: Turns, ready: list[_Ready], ended: list[_Ended], reason: str | None, pairs: _Pairs
) -> Results:
    """Both rows, and the decision: what broke comes before what was measured."""
    base, head = ended
    rows = [
        replace(row, loader=f"{row.loader} ({arm.side.name})")
        for arm, one in zip(turns.arms, ended, strict=True)
        if one.run is not None
        for row in one.run.rows
    ]
    decision: Decision = pairs.decision
    if head.outcome == "failed":
        decision, reason = "failed", f"head failed: {head.reason}"
    elif base.outcome == "failed":
        decision, reason = "undecided", f"base failed: {base.reason}"
    elif reason is None and len(pairs.base) < FEWEST_PAIRS:
        skipped = next((one for one in ended if one.outcome == "skipped" and one.reason), None)
        reason = skipped.reason if skipped else f"there was time for {len(pairs.base)} pairs only"
    elif reason is None and decision == "undecided":
        reason = "time was up: raise --budget, or free the machine"
    least_ratio = next((one.min_ratio for one in ready[-1:] if one.min_ratio), turns.least_ratio)
    found = GateDecision(
        turns.test,
        decision,
        least_ratio,
        loader=rows[-1].loader.rpartition(" (")[0] if rows else None,
        phase=ready[-1].phase if ready else None,
        pairs=min(len(pairs.base), len(pairs.head)),
        reason=reason,
    )
    count = found.pairs
    if count >= 2:
        _, ratio = decide(pairs.base[:count], pairs.head[:count], least_ratio, pairs.planned)
        found = replace(
            found,
            ratio=ratio.value,
            low=ratio.low,
            high=ratio.high,
            confidence=1 - error_at(count, pairs.planned),
            base=statistics.median(pairs.base),
            head=statistics.median(pairs.head),
        )
    run = next((one.run for one in reversed(ended) if one.run is not None), None)
    if run is None:
        run = ready[-1].run if ready else Results("", "", {}, {}, ())
    return replace(run, work=run.work | {"test": turns.test}, rows=tuple(rows), comparisons=(), gate=(found,))
