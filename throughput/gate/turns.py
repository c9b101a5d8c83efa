"""One test, measured in both arms in turn."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from throughput.differences import describe_difference, work_differences
from throughput.errors import ThroughputError
from throughput.gate.arms import Arm, ArmError
from throughput.gate.decision import FEWEST_PAIRS, decide, error_at
from throughput.gate.pairs import Clock, Pairing, Pairs, measure_pairs
from throughput.judgement import Decision
from throughput.results import GateDecision, PhaseName, Results
from throughput.results_reading import results_of
from throughput.sources.remote.addresses import is_remote

_WHERE_IT_LIES = ("source", "source_fingerprint")
"""Differs between two checkouts of the same images."""


@dataclass(frozen=True)
class Turns:
    """How to measure a test. arms: base, head. least_ratio: where the test's own mark does not say.

    deadline_seconds: by the clock, when the last pair should be over. seconds: of a pass. scratch: a folder
    of this user's own. tell: hears how far it is.
    """

    test: str
    arms: tuple[Arm, Arm]
    least_ratio: float
    deadline_seconds: float
    seconds: float
    scratch: Path
    draw: random.Random
    clock: Clock
    tell: Callable[[str], None]


@dataclass(frozen=True)
class _Ready:
    """An arm that will measure as soon as it is told. run: has no rows yet.

    strangers: modules from the other side's folder. own: modules from its own, but for tests; tests: a digest
    of these.
    """

    phase: PhaseName
    min_ratio: float | None
    run: Results
    strangers: tuple[str, ...]
    own: tuple[str, ...]
    tests: str


@dataclass(frozen=True)
class _Ended:
    """An arm that is through with a test. reason: of pytest, where the test did not pass."""

    outcome: str
    reason: str
    run: Results | None = None

    @property
    def broke(self) -> bool:
        """Whether it neither passed nor was skipped, which all measured tests are in the end."""
        return self.outcome not in ("passed", "skipped")


def measure_in_turns(turns: Turns) -> Results:
    """The run of one test: the rows of base and head, and the decision.

    Raises ArmError where a test session ends, and ThroughputError where one takes its code from the other.
    """
    ready = [_ready(arm, turns.test) for arm in turns.arms]
    both = [one for one in ready if isinstance(one, _Ready)]
    least_ratio = next((one.min_ratio for one in both[-1:] if one.min_ratio), turns.least_ratio)
    pairs = Pairs(reason="it was not measured in both")
    if len(both) == len(ready):
        for arm, one in zip(turns.arms, both, strict=True):
            _require_own_code(arm, one)
        reason = _other_work(*both) or _same_code(turns, *both)
        pairs = Pairs(reason=reason) if reason else _measured(turns, least_ratio, *both)
    ended = [
        one if isinstance(one, _Ended) else _stopped(arm, turns.test)
        for arm, one in zip(turns.arms, ready, strict=True)
    ]
    return _told(turns, least_ratio, both, ended, pairs)


def undecided(test: str, least_ratio: float, decision: Decision, reason: str) -> Results:
    """The run of a test of which nothing was measured."""
    return Results(
        "", "", {}, {"test": test}, (), (), (GateDecision(test, decision, least_ratio, reason=reason),)
    )


def _ready(arm: Arm, test: str) -> _Ready | _Ended:
    broken = None
    while True:
        said = arm.heard()
        match said["kind"]:
            case "ready" if said["test"] == test:
                run = results_of(f"what {arm.side.name} said of {test}", said["results"])
                return _Ready(
                    said["phase"],
                    said["min_ratio"],
                    run,
                    tuple(said["strangers"]),
                    tuple(said["own"]),
                    said["tests"],
                )
            case "broken" if said["test"] == test:
                broken = said["reason"]
            case "ended" if said["test"] == test:
                return _Ended(said["outcome"], broken or said["reason"])
            case _:
                raise _unexpected(arm, test, said)


def _stopped(arm: Arm, test: str) -> _Ended:
    """An arm that was ready, once it is through with the test."""
    if not arm.has_unheard:  # else its loader broke, and it asks for nothing any more
        arm.tell(go=False)
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
            case _:
                raise _unexpected(arm, test, said)


def _unexpected(arm: Arm, test: str, said: dict[str, Any]) -> ArmError:
    return ArmError(
        f"the tests of --{arm.side.name} {arm.side.folder} do not keep to their order: {said['kind']} of "
        f"{said.get('test')} came in {test}; leave out what runs tests again, or in another order",
        arm.side,
    )


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
    works = []
    for one in (base, head):
        model = one.run.work.get("model")
        # Of a file only the name is the same in two checkouts.
        works.append(one.run.work | {"model": None if model is None else PurePath(model).name})
    differences = [
        describe_difference(one) for one in work_differences(*works) if one.name not in _WHERE_IT_LIES
    ]
    if not differences:
        return None
    return f"base (A) and head (B) do not do the same work: {'; '.join(differences)}"


def _same_code(turns: Turns, base: _Ready, head: _Ready) -> str | None:
    """Why a rate would say nothing of the change, or None: what is measured comes from neither folder."""
    pythons = {arm.side.python for arm in turns.arms}
    if base.own or head.own or base.tests != head.tests or len(pythons) > 1:
        return None
    return (
        "neither side imports anything but the same tests from its own folder, so both would measure the "
        "same code: is what is tested installed elsewhere? Have it imported from the folder, or give each "
        "side a Python of its own (--base-python)"
    )


def _measured(turns: Turns, least_ratio: float, base: _Ready, head: _Ready) -> Pairs:
    return measure_pairs(
        Pairing(
            turns.arms,
            least_ratio,
            _obstacle(base.run.work) or _obstacle(head.run.work),
            turns.seconds,
            turns.draw,
            turns.scratch,
            turns.deadline_seconds,
            turns.clock,
            turns.tell,
        )
    )


def _obstacle(work: Mapping[str, Any]) -> str | None:
    """What would go on while the processes of a work stand still, or None."""
    if work["device"] != "cpu":
        return "a GPU has memory for one, and goes on with what it was given"
    if is_remote(work["source"]):
        return "a server goes on sending"
    return "a pass from a cold cache begins with opening" if work["cache"] == "cold" else None


def _told(
    turns: Turns, least_ratio: float, ready: list[_Ready], ended: list[_Ended], pairs: Pairs
) -> Results:
    """Both rows, and the decision: what broke comes before what was measured."""
    base, head = ended
    rows = [
        replace(row, loader=f"{row.loader} ({arm.side.name})")
        for arm, one in zip(turns.arms, ended, strict=True)
        if one.run is not None
        for row in one.run.rows
    ]
    decision, reason = pairs.decision, pairs.reason
    if head.broke and base.broke:
        decision, reason = "failed", f"both failed, the head so: {head.reason}"
    elif head.broke:
        decision, reason = "failed", f"head failed: {head.reason}"
    elif base.broke:
        decision, reason = "undecided", f"base failed: {base.reason}"
    elif len(ready) < len(ended):
        reason = next((one.reason for one in reversed(ended) if one.run is None), reason)
    found = GateDecision(
        turns.test,
        decision,
        least_ratio,
        loader=rows[-1].loader.rpartition(" (")[0] if rows else None,
        phase=ready[-1].phase if ready else None,
        pairs=pairs.count,
        reason=reason,
        obstacle=pairs.obstacle,
    )
    count = pairs.count
    if count:
        found = replace(found, base=statistics.median(pairs.base), head=statistics.median(pairs.head))
    if count >= FEWEST_PAIRS:
        _, ratio = decide(pairs.base, pairs.head, least_ratio, pairs.planned)
        found = replace(
            found,
            ratio=ratio.value,
            low=ratio.low,
            high=ratio.high,
            confidence=1 - error_at(count, pairs.planned),
        )
    run = next((one.run for one in reversed(ended) if one.run is not None), None)
    if run is None:
        run = ready[-1].run if ready else Results("", "", {}, {}, ())
    return replace(run, work=run.work | {"test": turns.test}, rows=tuple(rows), comparisons=(), gate=(found,))
