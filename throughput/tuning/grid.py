"""The whole grid, measured afterwards: how far from its best is what a search has chosen?"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from throughput.errors import NothingMeasuredError
from throughput.measure.budget import Budget
from throughput.measure.statistics import paired_ratio
from throughput.tuning.blocks import Clock, Measure
from throughput.tuning.configuration import Configuration
from throughput.tuning.trial import Outcome, Trial, trial_of

REGRET_ROUNDS = 5
"""Of the chosen one and the best, after the grid."""


@dataclass(frozen=True)
class Regret:
    """By how many per cent the chosen one is slower than the best of the grid, with its 95 % interval.

    The two are measured once more for it, round by round next to each other: of many, the best owes something
    to chance, and what chance gave in the grid is not in this. chosen_rates, best_rates: images per second of
    these rounds. Below 0 it is the faster one. Where the chosen one is the best: 0, without rounds.
    """

    percent: float = 0.0
    low: float | None = None
    high: float | None = None
    chosen_rates: tuple[float, ...] = ()
    best_rates: tuple[float, ...] = ()


@dataclass(frozen=True)
class Grid:
    """Every configuration that fits, in interleaved rounds of normal length.

    best: the highest of the geometric means. regret: None where one of the two failed. seconds: what the
    rounds of all took.
    """

    trials: tuple[Trial, ...]
    best: Configuration
    regret: Regret | None
    seconds: float


def measure_grid(
    configurations: Sequence[Configuration],
    chosen: Configuration,
    measure: Measure,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    clock: Clock = time.monotonic,
) -> Grid:
    """Measure all in interleaved rounds, as long and as often as any measurement; one that fails once is out.

    Raises NothingMeasuredError where all fail.
    """
    budget = budget or Budget()
    draw = random.Random(seed)
    begin = clock()
    outcomes: dict[Configuration, list[Outcome]] = {one: [] for one in configurations}
    failed: dict[Configuration, str] = {}
    for _ in range(budget.repeats):
        left = [one for one in configurations if one not in failed]
        for one in draw.sample(left, len(left)):
            outcome = measure(one, budget.seconds)
            outcomes[one].append(outcome)
            if outcome.reason is not None:
                failed[one] = outcome.reason
    trials = {one: trial_of(one, outcomes[one], failed.get(one)) for one in configurations}
    sound = [one for one in configurations if one not in failed]
    if not sound:
        raise NothingMeasuredError(
            f"every configuration of the grid failed: {'; '.join(set(failed.values()))}"
        )
    best = max(sound, key=lambda one: statistics.geometric_mean(trials[one].rates))
    seconds = clock() - begin
    regret = _regret(chosen, best, measure, budget.seconds, draw) if chosen in sound else None
    return Grid(tuple(trials.values()), best, regret, seconds)


def _regret(
    chosen: Configuration, best: Configuration, measure: Measure, seconds: float, draw: random.Random
) -> Regret | None:
    if chosen == best:
        return Regret()
    rates: dict[Configuration, list[float]] = {chosen: [], best: []}
    for _ in range(REGRET_ROUNDS):
        for one in draw.sample([chosen, best], 2):
            outcome = measure(one, seconds)
            if outcome.measured is None:
                return None
            rates[one].append(outcome.measured.images / outcome.measured.seconds)
    ratio = paired_ratio(rates[chosen], rates[best])
    percent, low, high = (100 * (1 - value) for value in (ratio.value, ratio.high, ratio.low))
    return Regret(percent, low, high, tuple(rates[chosen]), tuple(rates[best]))
