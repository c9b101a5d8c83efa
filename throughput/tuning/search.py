"""Successive halving within a time budget: many configurations for a moment, fewer for longer.

The first rung is the start and what differs from it in one setting. Its better half goes on, joined by
combinations of changes that promise more than any of them alone. The last few are measured in interleaved
rounds, and compared pair by pair. Nothing here knows a loader: a block is a call, and the clock is given.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from throughput.errors import NothingMeasuredError
from throughput.tuning.blocks import Blocks, Clock, Found, Measure
from throughput.tuning.choice import Choice, choose
from throughput.tuning.configuration import Configuration
from throughput.tuning.space import Space

FINALISTS = 2
ROUNDS = 3
_LEAST_ROUNDS = 2
"""Without so many there is no interval: their time is kept back from the rungs before."""
_BEATEN = 0.75
"""Of the fastest's slowest pass: a finalist that never came up to it needs no rounds to be told from it."""
_FIRST_SHARE = 0.5
"""Of the budget, for the first rung: what lies far from the start is left out first."""
_LEAST_TRIED = 3
"""Besides the start: a short budget is better spent on looking around than on certainty."""
_BUDGET_SHARE = 1 / 120
"""Of the budget, for one pass of the first rung."""
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.5, 3.0
"""Bounds of a pass; the upper one is as long as those of any measurement."""
_WORTH_A_TRY = 1.03
"""Of the fastest's rate: a combination that promises less may owe it to noise."""
_BATCHES_A_WORKER = 2
"""In the shortest pass, at least: workers may deliver in bursts."""


class Lengths(NamedTuple):
    """Seconds of a pass in the first rung, in the second, and in the finals."""

    first: float
    second: float
    final: float


def pass_lengths(budget_seconds: float, least_seconds: float = 0.0) -> Lengths:
    """Twice and three times as long as in the first rung, where they take ``least_seconds`` or more."""
    first = max(_SHORTEST_SECONDS, _BUDGET_SHARE * budget_seconds, least_seconds)
    return Lengths(*(min(_LONGEST_SECONDS, factor * first) for factor in (1, 2, 3)))


def search(
    space: Space,
    measure: Measure,
    budget_seconds: float,
    *,
    seed: int = 0,
    clock: Clock = time.monotonic,
    on_block: Callable[[Found], None] = lambda _: None,
) -> Found:
    """Find the fastest configuration of a space, or the cheapest of those that cannot be told from it.

    The budget is kept to within one block: none begins that is not expected to end in it. ``on_block`` is
    told what is known after each. Raises OptionError for a budget that is too short for two blocks, and
    NothingMeasuredError where every configuration that was tried fails.
    """
    draw = random.Random(seed)
    blocks = Blocks(measure, budget_seconds, clock, on_block)
    lengths = pass_lengths(budget_seconds)
    blocks.run([space.start], lengths.first)
    blocks.require_two(lengths.first)
    if rate := blocks.rate(space.start):
        most = max(one.workers * one.batch_size for one in space.star())
        lengths = pass_lengths(budget_seconds, _BATCHES_A_WORKER * most / rate)
    ranked = _first_rung(space, blocks, draw, lengths)
    if len(ranked) > FINALISTS:
        ranked = _second_rung(space, ranked, blocks, draw, lengths)
    choice = _final(ranked, blocks, draw, lengths.final) if ranked else None
    if choice is None:
        reasons = dict.fromkeys(str(trial.dropped) for trial in blocks.found().trials)
        raise NothingMeasuredError(f"every configuration that was tried failed: {'; '.join(reasons)}")
    found = blocks.found(choice)
    on_block(found)
    return found


def _first_rung(space: Space, blocks: Blocks, draw: random.Random, lengths: Lengths) -> list[Configuration]:
    """Those of the star that run, the fastest first."""
    star = space.star()
    fits = max(_LEAST_TRIED, int(_FIRST_SHARE * blocks.room(lengths.first)))
    near = star[1 : 1 + fits]
    blocks.run(draw.sample(near, len(near)), lengths.first)
    return blocks.ranked(star)


def _second_rung(
    space: Space, ranked: Sequence[Configuration], blocks: Blocks, draw: random.Random, lengths: Lengths
) -> list[Configuration]:
    """The finalists, the fastest first: from the better half of the first rung, and from combinations."""
    better = list(ranked[: max(FINALISTS, math.ceil(len(ranked) / 2))])
    promising = list(_combinations(space, blocks, better[0]))
    blocks.drop_slower(ranked[len(better) :], better[0])
    better += promising[: len(better) // 2]
    fits = blocks.room(lengths.second, _finals_seconds(blocks, lengths))
    if fits > FINALISTS:
        going_on = better[:fits]
        blocks.run(draw.sample(going_on, len(going_on)), lengths.second)
    ranked = blocks.ranked(better)
    blocks.drop_slower(ranked[FINALISTS:], ranked[0])
    return list(ranked[:FINALISTS])


def _finals_seconds(blocks: Blocks, lengths: Lengths) -> float:
    """What the fewest rounds of the finalists that show a spread take."""
    return _LEAST_ROUNDS * FINALISTS * blocks.cost_seconds(lengths.final)


def _combinations(space: Space, blocks: Blocks, fastest: Configuration) -> Iterator[Configuration]:
    """Those not tried whose changes, each by what it gave alone, promise more than the fastest so far.

    The most promising first.
    """
    base = blocks.rate(space.start)
    gains = {
        (name, one.settings[name]): blocks.rate(one) / base
        for one in space.star()
        for name in one.differing(space.start)
        if base
    }

    def promised(one: Configuration) -> float:
        changes = ((name, one.settings.get(name)) for name in one.differing(space.start))
        return base * math.prod(gains.get(change, 0.0) for change in changes)

    untried = [one for one in space.grid if not blocks.has_tried(one)]
    for one in sorted(untried, key=promised, reverse=True):
        if promised(one) > _WORTH_A_TRY * blocks.rate(fastest):
            yield one


def _final(
    finalists: Sequence[Configuration], blocks: Blocks, draw: random.Random, seconds: float
) -> Choice | None:
    """The choice, by as many whole rounds of the finalists as the budget has room for; None if all fail."""
    rates: dict[Configuration, tuple[float, ...]] = dict.fromkeys(finalists, ())
    for _ in range(ROUNDS):
        if len(rates) == 1 or _is_decided(list(rates), blocks) or blocks.room(seconds) < len(rates):
            break
        if not blocks.run(draw.sample(list(rates), len(rates)), seconds):
            break
        rates = {one: (*found, blocks.last_rate(one)) for one, found in rates.items() if blocks.rate(one)}
        if not rates:
            return None
    if len(rates) > 1 and all(rates.values()):
        return choose(rates, blocks.peaks())
    fastest, *others = blocks.ranked(rates)
    if not others:
        words = "nothing else that was tried could be measured"
    elif _is_decided([fastest, *others], blocks):
        share = blocks.rate(others[0]) / blocks.rate(fastest)
        words = f"without a doubt: the next ({others[0].words}) reaches {share:.2f} of its rate"
    else:
        words = "the fastest in single passes: the budget has no room for rounds of the finalists"
    return Choice(fastest, words, {})


def _is_decided(finalists: Sequence[Configuration], blocks: Blocks) -> bool:
    """Whether the fastest outran the others in every pass so far, so that rounds would change nothing."""
    fastest, *others = blocks.ranked(finalists)
    slowest_pass = min(blocks.passes(fastest))
    return all(max(blocks.passes(one)) < _BEATEN * slowest_pass for one in others)
