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


@dataclass(frozen=True)
class Regret:
    """By how many per cent the chosen one is slower than the best, with its 95 % interval.

    0 where it is the best. Below 0 at the interval's end: it may be the faster one. low, high: None where one
    round shows no spread.
    """

    percent: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Grid:
    """Every configuration that fits, in interleaved rounds of normal length.

    best: the highest of the geometric means; by chance it comes out better than it is, and the more so the
    more there are to be best among, so a regret of a few per cent may be none. seconds: what all of it took.
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

    Raises NothingMeasuredError where all fail. The regret is None where the chosen one fails.
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
    regret = _regret(trials[chosen], trials[best]) if chosen in sound else None
    return Grid(tuple(trials.values()), best, regret, clock() - begin)


def _regret(chosen: Trial, best: Trial) -> Regret:
    if chosen is best:
        return Regret(0.0)
    if len(chosen.passes) == 1:
        return Regret(100 * (1 - chosen.rates[0] / best.rates[0]))
    ratio = paired_ratio(chosen.rates, best.rates)
    return Regret(*(100 * (1 - value) for value in (ratio.value, ratio.high, ratio.low)))
