"""The whole grid: interleaved rounds, its best, and the regret of a choice that is known to be slower."""

from __future__ import annotations

import statistics

import pytest
from curves import Machine, configuration, space

from throughput.errors import NothingMeasuredError
from throughput.measure.budget import Budget
from throughput.tuning.grid import REGRET_ROUNDS, Grid, Regret, measure_grid

GRID = space((1, 2, 4), (2,)).grid


def rate_of(workers: int, _: int) -> float:
    return {1: 500.0, 2: 900.0, 4: 1000.0}[workers]


def grid_of(machine: Machine, chosen: int, repeats: int = 3) -> Grid:
    budget = Budget(repeats=repeats)
    return measure_grid(GRID, configuration(chosen), machine, budget=budget, clock=machine.clock)


def test_every_configuration_comes_once_in_each_round_at_normal_length() -> None:
    machine = Machine(rate_of)
    grid = grid_of(machine, 4)
    assert len(machine.calls) == 9
    for begin in (0, 3, 6):
        assert {one for one, _ in machine.calls[begin : begin + 3]} == set(GRID)
    assert {seconds for _, seconds in machine.calls} == {Budget().seconds}
    assert grid.seconds == machine.now == 9 * (3 + 1), "the chosen one is the best: there is nothing to add"
    assert [len(trial.passes) for trial in grid.trials] == [3, 3, 3]


def test_the_regret_is_what_the_choice_lacks() -> None:
    grid = grid_of(Machine(rate_of), chosen=2)
    assert grid.best == configuration(4)
    assert grid.regret is not None
    assert grid.regret.percent == pytest.approx(10.0)
    assert (grid.regret.low, grid.regret.high) == (pytest.approx(10.0), pytest.approx(10.0))
    assert grid_of(Machine(rate_of), chosen=4).regret == Regret()


def test_the_two_are_measured_once_more_for_it_side_by_side() -> None:
    machine = Machine(rate_of)
    grid = grid_of(machine, chosen=2)
    again = [one for one, _ in machine.calls[9:]]
    assert len(again) == 2 * REGRET_ROUNDS
    for begin in range(0, len(again), 2):
        assert set(again[begin : begin + 2]) == {configuration(2), configuration(4)}
    assert grid.seconds == 9 * (3 + 1) < machine.now, "they are no part of the grid"
    assert grid.regret is not None
    assert (len(grid.regret.chosen_rates), len(grid.regret.best_rates)) == (REGRET_ROUNDS, REGRET_ROUNDS)


def test_what_chance_gave_in_the_grid_is_not_in_it() -> None:
    """Of many that are equally fast, the best of the grid is a matter of luck, and the regret is none."""
    many = space(tuple(range(1, 17)), (2,)).grid
    regrets, lucky = [], []
    for seed in range(40):
        machine = Machine(lambda *_: 1000.0, noise=0.05, seed=seed)
        grid = measure_grid(many, configuration(1), machine, seed=seed, clock=machine.clock)
        assert grid.regret is not None
        regrets.append(grid.regret.percent)
        rates = {trial.configuration: statistics.geometric_mean(trial.rates) for trial in grid.trials}
        lucky.append(100 * (1 - rates[configuration(1)] / rates[grid.best]))
    assert statistics.fmean(lucky) > 3
    assert abs(statistics.fmean(regrets)) < 1


def test_the_regret_has_an_interval_around_it() -> None:
    regret = grid_of(Machine(rate_of, noise=0.02, seed=1), chosen=2).regret
    assert regret is not None
    assert regret.low is not None
    assert regret.high is not None
    assert regret.low < regret.percent < regret.high
    assert regret.low < 10 < regret.high


def test_what_fails_is_out() -> None:
    grid = grid_of(Machine(rate_of, fails=lambda workers, _: "it died" if workers == 4 else None), chosen=4)
    assert grid.best == configuration(2)
    assert grid.regret is None
    assert [trial.dropped for trial in grid.trials] == [None, None, "it died"]
    with pytest.raises(NothingMeasuredError, match="it died"):
        grid_of(Machine(rate_of, fails=lambda *_: "it died"), chosen=4)
