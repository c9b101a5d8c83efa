"""Pair after pair of one test, until it is known whether the head is slower."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from throughput.gate.arms import Arm
from throughput.gate.decision import FEWEST_PAIRS, decide, is_look
from throughput.gate.idleness import Seen
from throughput.gate.pair import (
    Length,
    Pair,
    Round,
    looked_at,
    one_after_the_other,
    side_by_side,
)
from throughput.judgement import Decision

Clock = Callable[[], float]
_HANGS_FACTOR = 20.0
"""A pair that takes so many times as long as the first one will not end."""
_HANGS_LEAST_SECONDS = 60.0
_FIRST_SECONDS = 0.5
"""Of a pass in which files are read, and code is compiled, for the first time."""
_WAITING_SHARE_OF_MARGIN = 0.5
"""While a side stands still for half of the time, about half of what it waits for passes unseen. Where it
waits for half of the margin at most, the ratio errs by about a quarter of it; where that is seen in turns
only, which show half of it, by about half of the margin."""
_LEAST_WAITING_SHARE = 0.01
"""As near as it can be seen."""


@dataclass(frozen=True)
class Pairing:
    """How to measure pairs. arms: base, head. least_ratio: what head must reach of base's rate.

    obstacle: why both may not be open at the same time, and take turns; None where they may. seconds: of a
    pass. draw: who comes first. scratch: a folder of this user's own. deadline_seconds: by the clock, when
    the last pair should be over. tell: hears how far it is.
    """

    arms: tuple[Arm, Arm]
    least_ratio: float
    obstacle: str | None
    seconds: float
    draw: random.Random
    scratch: Path
    deadline_seconds: float
    clock: Clock
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Pairs:
    """Images per second of each pair, of so many as were planned; what they say, and why no more.

    seen: of what base and head wait for. obstacle: why the two took no turns; None where they did.
    """

    base: tuple[float, ...] = ()
    head: tuple[float, ...] = ()
    decision: Decision = "undecided"
    planned: int = FEWEST_PAIRS
    reason: str | None = None
    seen: tuple[Seen, Seen] = (Seen(), Seen())
    obstacle: str | None = None

    @property
    def count(self) -> int:
        return len(self.base)

    def plus(self, done: tuple[Round, Round], seen: tuple[Seen, Seen]) -> Pairs:
        """With another pair."""
        base, head = (one.images / one.seconds for one in done)
        of_base, of_head = (before + now for before, now in zip(self.seen, seen, strict=True))
        return replace(self, base=(*self.base, base), head=(*self.head, head), seen=(of_base, of_head))


def measure_pairs(pairing: Pairing) -> Pairs:
    """Pairs until it is decided or time is up. Raises ArmError.

    Each arm comes first in as many pairs as the other; in turns, who comes first is drawn for each.
    """
    began = pairing.clock()
    if began >= pairing.deadline_seconds:
        return Pairs(reason="no time was left for it: raise --budget")
    head_first = pairing.draw.randrange(2) == 1
    pairing.tell("a first pair, which does not count")
    pair = _first(pairing, head_first)
    obstacle = pairing.obstacle or pair.obstacle
    if obstacle is None and _done(pair) is not None and _waiting(pairing, pair.seen) is not None:
        # What is read for the first time is waited for, and only then.
        pair = _first(pairing, not head_first)
        obstacle = pair.obstacle
    if _done(pair) is None:
        return _without_images(pairing, pair, Pairs(obstacle=obstacle))
    pairs = Pairs(obstacle=obstacle or _waiting(pairing, pair.seen))
    patience_seconds = max(
        _HANGS_LEAST_SECONDS, _HANGS_FACTOR * (pairing.clock() - began + 2 * pairing.seconds)
    )
    spent: list[float] = []
    while (done := _done(pair)) is not None:
        begin = pairing.clock()
        length = _alike(done, pairing.seconds)
        head_first = not head_first
        pair = _measure(pairing, length, pairs.obstacle, head_first, patience_seconds)
        if (done := _done(pair)) is None:
            break
        pairs = pairs.plus(done, pair.seen)
        obstacle = pair.obstacle or _waiting(pairing, pairs.seen)
        left_seconds = pairing.deadline_seconds - pairing.clock()
        if pairs.obstacle is None and obstacle is not None:  # the first pair did not show it
            pairs, spent = Pairs(obstacle=obstacle), []
            if left_seconds > 0:
                continue
            return replace(pairs, reason="no time was left to measure without turns: raise --budget")
        spent.append(pairing.clock() - begin)
        if pairs.count <= FEWEST_PAIRS:  # the first one may still be of another length
            left = int(left_seconds / statistics.fmean(spent[1:] or spent))
            pairs = replace(pairs, planned=max(FEWEST_PAIRS, pairs.count + left))
        is_last = pairs.count >= pairs.planned or left_seconds < statistics.fmean(spent)
        pairs = _decided(pairs, pairing, is_last=is_last)
        if pairs.decision != "undecided":
            return pairs
        if is_last:
            return replace(pairs, reason=_why_no_more(spent))
    return _without_images(pairing, pair, pairs)


def _without_images(pairing: Pairing, pair: Pair, pairs: Pairs) -> Pairs:
    failed = next(arm for arm, one in zip(pairing.arms, pair.rounds, strict=True) if one is None)
    return replace(pairs, reason=f"no image of {failed.side.name} counted")


def _first(pairing: Pairing, head_first: bool) -> Pair:
    """One that does not count."""
    length = Length(min(_FIRST_SECONDS, pairing.seconds))
    if pairing.obstacle is None:
        return looked_at(pairing.arms, length, head_first, pairing.scratch)
    return one_after_the_other(pairing.arms, length, head_first, None)


def _waiting(pairing: Pairing, seen: tuple[Seen, Seen]) -> str | None:
    """That a side waits for so much of its time that the two may not take turns, or that this cannot be seen;
    or None.
    """
    for arm, one in zip(pairing.arms, seen, strict=True):
        if not one.seconds:
            return f"its passes are too short to see whether {arm.side.name} waits: raise --seconds"
        most = max(_LEAST_WAITING_SHARE, _WAITING_SHARE_OF_MARGIN * abs(1 - pairing.least_ratio))
        if one.waiting_share > most:
            share = f"{one.waiting_share:.1%}"
            return f"{arm.side.name} waits for {share} of its time, and what it waits for may go on"
    return None


def _done(pair: Pair) -> tuple[Round, Round] | None:
    base, head = pair.rounds
    return None if base is None or head is None else (base, head)


def _alike(done: tuple[Round, Round], seconds: float) -> Length:
    """As many batches for both as the slower one took in so long: the same ones, if the loaders are alike."""
    return Length(seconds, max(1, round(seconds * min(one.batches / one.seconds for one in done))))


def _measure(
    pairing: Pairing,
    length: Length,
    obstacle: str | None,
    head_first: bool,
    patience_seconds: float | None,
) -> Pair:
    if obstacle is None:
        return side_by_side(pairing.arms, length, pairing.draw, patience_seconds, pairing.scratch)
    return one_after_the_other(pairing.arms, length, head_first, patience_seconds)


def _decided(pairs: Pairs, pairing: Pairing, *, is_last: bool) -> Pairs:
    """With what is known now, where it is time for a look."""
    if pairs.count < FEWEST_PAIRS or not (is_look(pairs.count, pairs.planned) or is_last):
        pairing.tell(f"{pairs.count} pair{'s' if pairs.count > 1 else ''}")
        return pairs
    decision, ratio = decide(pairs.base, pairs.head, pairing.least_ratio, pairs.planned)
    pairing.tell(f"{pairs.count} pairs, {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]: {decision}")
    return replace(pairs, decision=decision)


def _why_no_more(spent_seconds: list[float]) -> str:
    count = len(spent_seconds)
    why = "time was up"
    if count < FEWEST_PAIRS:
        why = f"there was time for {count} pair{'s' if count > 1 else ''} only, {spent_seconds[0]:.0f} s each"
    return f"{why}: raise --budget, or free the machine"
