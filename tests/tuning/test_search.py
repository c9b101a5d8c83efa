"""The search against machines of known speed: it finds the peak, keeps to its budget, and saves workers."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from curves import Curve, Machine, configuration, space

from throughput.errors import NothingMeasuredError, OptionError
from throughput.tuning.blocks import Found
from throughput.tuning.configuration import Configuration
from throughput.tuning.search import FINALISTS, ROUNDS, search
from throughput.tuning.space import Space
from throughput.tuning.trial import Outcome

MINUTE = 60.0


def found_by(machine: Machine, among: Space | None = None, budget_seconds: float = MINUTE) -> Found:
    return search(among or space(), machine, budget_seconds, clock=machine.clock)


def chosen_by(
    machine: Machine, among: Space | None = None, budget_seconds: float = MINUTE
) -> tuple[int, int]:
    """Workers and prefetch."""
    found = found_by(machine, among, budget_seconds)
    assert found.choice is not None
    one = found.choice.configuration
    return one.workers, dict(one.options)["prefetch"]


def peak_at(workers: int, prefetch: int) -> Curve:
    """Falls by a fifth with each doubling away from the peak, in either direction."""
    return lambda w, p: 1000 * 0.8 ** (abs(math.log2(w / workers)) + abs(math.log2(p / prefetch)))


@pytest.mark.parametrize("peak", list(itertools.product((1, 2, 3, 4), (1, 2, 4, 8))))
def test_a_peak_is_found_wherever_it_lies(peak: tuple[int, int]) -> None:
    assert chosen_by(Machine(peak_at(*peak))) == peak


@pytest.mark.parametrize("peak", [(1, 1), (8, 2), (16, 8), (64, 4)])
def test_so_it_is_on_a_machine_of_many_cores(peak: tuple[int, int]) -> None:
    wide = space((1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8), start=32)
    assert chosen_by(Machine(peak_at(*peak)), wide, 2 * MINUTE) == peak


def test_changes_that_help_together_alone_are_found_by_what_each_promises() -> None:
    def together(workers: int, prefetch: int) -> float:
        return 800 + 50 * (workers > 2) + 50 * (prefetch > 2) + 300 * (workers > 2 and prefetch > 2)

    machine = Machine(together)
    workers, prefetch = chosen_by(machine)
    assert (workers > 2, prefetch > 2) == (True, True)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("peak", [(1, 1), (2, 4), (4, 8)])
def test_noise_costs_a_few_per_cent_at_most(peak: tuple[int, int], seed: int) -> None:
    machine = Machine(peak_at(*peak), noise=0.03, seed=seed)
    found = search(space(), machine, MINUTE, seed=seed, clock=machine.clock)
    assert found.choice is not None
    assert machine.share_of_best(found.choice.configuration, space()) >= 0.9


@pytest.mark.parametrize("seed", range(10))
def test_of_those_that_nobody_can_tell_apart_the_cheapest_is_taken(seed: int) -> None:
    machine = Machine(lambda workers, _: 1000 if workers > 1 else 500, noise=0.005, seed=seed)
    found = search(space((1, 2, 4), (2,)), machine, MINUTE, seed=seed, clock=machine.clock)
    assert found.choice is not None
    assert found.choice.configuration.workers == 2
    if max(found.choice.rates, key=lambda one: sum(found.choice.rates[one])).workers == 4:
        assert "fewer workers" in found.choice.words


def test_what_fails_is_out_with_its_reason_and_never_chosen() -> None:
    best_fails = Machine(peak_at(4, 4), fails=lambda workers, _: "out of memory" if workers == 4 else None)
    found = found_by(best_fails)
    assert found.choice is not None
    assert found.choice.configuration.workers < 4
    failed = [trial for trial in found.trials if trial.configuration.workers == 4]
    assert failed
    assert {trial.dropped for trial in failed} == {"out of memory"}
    assert all(not trial.passes for trial in failed)


def test_the_search_goes_on_where_its_start_fails() -> None:
    machine = Machine(peak_at(4, 2), fails=lambda *one: "it hangs" if one == (2, 2) else None)
    assert chosen_by(machine) == (4, 2)


def test_what_was_measured_and_must_not_be_chosen_is_not() -> None:
    machine = Machine(peak_at(4, 2))

    def measure(one: Configuration, seconds: float) -> Outcome:
        outcome = machine(one, seconds)
        return replace(outcome, reason="took 30 GB") if one.workers > 2 else outcome

    found = search(space(), measure, MINUTE, clock=machine.clock)
    assert found.choice is not None
    assert found.choice.configuration.workers == 2
    (tried,) = [trial for trial in found.trials if trial.configuration == configuration(4)]
    assert (len(tried.passes), tried.dropped) == (1, "took 30 GB")


def test_all_fail() -> None:
    with pytest.raises(NothingMeasuredError, match="every configuration that was tried failed: no such disk"):
        found_by(Machine(peak_at(2, 2), fails=lambda *_: "no such disk"))


@pytest.mark.parametrize("budget_seconds", [3.0, 4.0, 7.0, 11.0, 20.0, 33.0, 60.0, 300.0])
@pytest.mark.parametrize("beside_seconds", [0.1, 1.0, 4.0])
def test_the_budget_is_kept_to_within_a_block(budget_seconds: float, beside_seconds: float) -> None:
    machine = Machine(peak_at(3, 4), beside_seconds=beside_seconds)
    if budget_seconds < 2 * (0.5 + beside_seconds):
        with pytest.raises(OptionError, match="too short"):
            found_by(machine, budget_seconds=budget_seconds)
        assert len(machine.calls) == 1
        return
    found = found_by(machine, budget_seconds=budget_seconds)
    assert found.choice is not None
    assert len(machine.calls) >= 2
    assert machine.now <= budget_seconds + machine.longest_seconds
    assert found.spent_seconds == machine.now


def test_blocks_that_become_slower_end_the_search_in_time() -> None:
    machine = Machine(peak_at(3, 4))

    def slower_and_slower(one: Configuration, seconds: float) -> Outcome:
        machine.now += 2 * len(machine.calls)
        return machine(one, seconds)

    search(space(), slower_and_slower, 30.0, clock=machine.clock)
    assert machine.now <= 30 + 2 * len(machine.calls) + 4


def test_a_budget_that_is_too_short_tells_what_is_needed() -> None:
    with pytest.raises(OptionError) as refused:
        found_by(Machine(peak_at(2, 2), beside_seconds=9.5), budget_seconds=15.0)
    assert "--budget 15s is too short" in str(refused.value)
    assert "give 21s or more" in str(refused.value)
    assert chosen_by(Machine(peak_at(2, 2), beside_seconds=9.5), budget_seconds=21.0) == (2, 2)


def test_with_two_blocks_the_faster_is_taken() -> None:
    machine = Machine(lambda workers, _: 100 + 10 * workers)
    found = found_by(machine, space((2, 4), (2,)), budget_seconds=3.5)
    assert len(machine.calls) == 2
    assert found.choice is not None
    assert found.choice.configuration.workers == 4
    assert "no room for rounds" in found.choice.words


def test_one_configuration_is_no_choice() -> None:
    machine = Machine(lambda *_: 100)
    found = found_by(machine, space((2,), (2,)))
    assert found.choice is not None
    assert found.choice.configuration == configuration(2)
    assert len(machine.calls) == 1


def test_passes_grow_from_rung_to_rung_and_the_finalists_take_turns() -> None:
    machine = Machine(peak_at(4, 2), noise=0.01)
    found = found_by(machine)
    seconds = [one for _, one in machine.calls]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == 3
    finals = [one for one, length in machine.calls if length == seconds[-1]]
    for begin in range(0, len(finals), FINALISTS):
        assert len(set(finals[begin : begin + FINALISTS])) == FINALISTS
    assert found.choice is not None
    assert set(found.choice.rates) == set(finals)
    assert machine.calls[0][0] == space().start


def test_rounds_end_where_they_would_change_nothing() -> None:
    def rounds_of(machine: Machine) -> int:
        found_by(machine, space((1, 2), (2,)))
        return sum(seconds == machine.calls[-1][1] for _, seconds in machine.calls) // 2

    assert rounds_of(Machine(lambda workers, _: 100 + workers)) == ROUNDS
    clear = Machine(lambda workers, _: 100 * workers)
    found = found_by(clear, space((1, 2), (2,)))
    assert len(clear.calls) == 2
    assert found.choice is not None
    assert found.choice.words == (
        "without a doubt: the next (workers 1, batch 8, prefetch 2) reaches 0.50 of its rate"
    )


def test_one_pass_that_was_disturbed_decides_nothing() -> None:
    machine = Machine(lambda workers, _: 1000 + workers)

    def measure(one: Configuration, seconds: float) -> Outcome:
        outcome = machine(one, seconds)
        if len(machine.calls) != 3 or outcome.measured is None:
            return outcome
        return replace(outcome, measured=replace(outcome.measured, images=outcome.measured.images // 2))

    found = search(space((1, 2), (2,)), measure, MINUTE, clock=machine.clock)
    assert found.choice is not None
    assert {len(rates) for rates in found.choice.rates.values()} == {ROUNDS}


def test_a_longer_budget_looks_further_around_and_measures_longer() -> None:
    wide = space(tuple(range(1, 20)), (1, 2, 4, 8), start=10)
    short, long = Machine(peak_at(19, 8)), Machine(peak_at(19, 8))
    found_by(short, wide, 20.0)
    found_by(long, wide, 240.0)
    assert len({one for one, _ in long.calls}) > len({one for one, _ in short.calls})
    assert long.calls[0][1] > short.calls[0][1]


def test_a_pass_holds_batches_of_every_worker() -> None:
    machine = Machine(lambda workers, _: workers * 10.0)  # a worker takes 0.8 s for a batch
    found_by(machine)
    assert min(seconds for _, seconds in machine.calls[1:]) >= 1.6


def test_what_is_known_is_told_after_each_block() -> None:
    machine = Machine(peak_at(4, 2))
    told: list[Found] = []
    final = search(space(), machine, MINUTE, clock=machine.clock, on_block=told.append)
    assert len(told) == len(machine.calls) + 1
    assert [sum(len(trial.passes) for trial in found.trials) for found in told[:-1]] == list(
        range(1, len(machine.calls) + 1)
    )
    assert all(found.choice is not None for found in told)
    assert told[-1] == final
