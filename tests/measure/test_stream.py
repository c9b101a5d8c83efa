"""Waiting, as a clock that only the loader moves tells it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from throughput.contracts import Batch, Fault, Loader
from throughput.errors import LoaderError
from throughput.measure.budget import Budget
from throughput.measure.ledger import Ledger
from throughput.measure.phases import run_epoch
from throughput.measure.stream import LoaderStream, Pulled, ReplayStream
from throughput.measure.waiting import HostWaiting


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def batch_of(ids: Sequence[int]) -> Batch:
    return Batch(torch.zeros(len(ids)), torch.zeros(len(ids)), torch.tensor(ids, dtype=torch.int64))


class Slow(Loader):
    """Epochs of batches of ids; each takes ``seconds``, and the first of an epoch ``opening`` more."""

    samples_per_epoch = 5

    def __init__(
        self, clock: Clock, batches: Sequence[Sequence[int]], seconds: float, opening: float
    ) -> None:
        self._clock = clock
        self._batches = batches
        self._seconds = seconds
        self._opening = opening
        self.opened: list[int] = []

    def epoch(self, index: int) -> Iterator[Batch]:
        self.opened.append(index)
        self._clock.seconds += self._opening * (index + 1)
        for ids in self._batches:
            self._clock.seconds += self._seconds
            yield batch_of(ids)


BATCHES = [[0, 1], [2, 3], [4]]


def test_each_wait_is_what_the_loader_took() -> None:
    clock = Clock()
    stream = LoaderStream(Slow(clock, BATCHES, 0.25, 1.0), None, clock)
    waits = []
    for _ in range(7):
        waits.append(stream.pull().wait_seconds)
        clock.seconds += 50  # the step is nobody's wait
    assert waits == [1.25, 0.25, 0.25, 2.25, 0.25, 0.25, 3.25]


def test_the_epoch_gap_is_the_median_of_all_but_the_first_opening() -> None:
    clock = Clock()
    stream = LoaderStream(Slow(clock, BATCHES, 0.25, 1.0), None, clock)
    for _ in range(3):
        stream.pull()
    assert stream.epoch_gap_seconds is None
    for _ in range(9):
        stream.pull()
    assert stream.epoch_gap_seconds == 3.25


def test_epochs_go_on_from_the_one_that_is_named() -> None:
    clock = Clock()
    loader = Slow(clock, BATCHES, 0, 0)
    stream = LoaderStream(loader, None, clock, first_epoch=5)
    assert stream.next_epoch == 5
    for _ in range(7):
        stream.pull()
    assert loader.opened == [5, 6, 7]
    assert stream.next_epoch == 8


def test_samples_come_in_the_loaders_order() -> None:
    stream = LoaderStream(Slow(Clock(), BATCHES, 0, 0), None, Clock())
    ids = [stream.pull().batch.ids.tolist() for _ in range(4)]
    assert ids == [[0, 1], [2, 3], [4], [0, 1]]


def test_repeats_do_not_count_as_images() -> None:
    ledger = Ledger(np.arange(5))
    stream = LoaderStream(Slow(Clock(), [[0, 1, 0], [1, 2, -1]], 0, 0), ledger, Clock())
    assert [stream.pull().images for _ in range(4)] == [2, 1, 2, 1]
    first, second = ledger.count().epochs
    assert (first.complete, first.missing, first.duplicate, first.padded) == (True, 2, 2, 1)
    assert not second.complete


def test_without_a_ledger_every_image_counts() -> None:
    stream = LoaderStream(Slow(Clock(), [[0, 0, 0]], 0, 0), None, Clock())
    assert stream.pull().images == 3


@pytest.mark.parametrize("epochs", [0, 1])
def test_an_epoch_without_batches_is_an_error_and_no_endless_loop(epochs: int) -> None:
    class Dry(Loader):
        def epoch(self, index: int) -> Iterator[Batch]:
            return iter([batch_of([0])] if index < epochs else [])

    stream = LoaderStream(Dry(), Ledger(np.arange(1)), Clock())
    for _ in range(epochs):
        stream.pull()
    with pytest.raises(LoaderError, match=f"no batch in epoch {epochs}"):
        stream.pull()


def test_the_stream_does_not_hold_the_batch_that_it_handed_over() -> None:
    import weakref

    stream = LoaderStream(Slow(Clock(), BATCHES, 0, 0), None, Clock())
    pulled = stream.pull()
    held = weakref.ref(pulled.batch.images)
    del pulled
    stream.pull()
    assert held() is None


def test_replay_goes_round_without_waiting() -> None:
    stream = ReplayStream([batch_of([0, 1]), batch_of([2])])
    pulled = [stream.pull() for _ in range(5)]
    assert [one.images for one in pulled] == [2, 1, 2, 1, 2]
    assert {one.wait_seconds for one in pulled} == {0.0}
    assert all(one.batch is other.batch for one, other in itertools.pairwise(pulled[::2]))


class Stocked(Loader):
    """One endless epoch: ``stock`` batches lie ready, each further one takes ``seconds``."""

    samples_per_epoch = 10**6

    def __init__(self, clock: Clock, stock: int, seconds: float) -> None:
        self._clock = clock
        self._stock = stock
        self._seconds = seconds

    def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - there is only one
        for number in itertools.count():
            self._clock.seconds += 0.001 if number < self._stock else self._seconds
            yield batch_of([number])


def test_settling_uses_up_what_lay_ready_and_no_more() -> None:
    clock = Clock()
    stream = LoaderStream(Stocked(clock, stock=5, seconds=1.0), None, clock)
    stream.settle(100)
    assert clock.seconds == pytest.approx(100 + 5 * 0.001 + 1.0)


def test_settling_ends_where_all_pulls_take_alike() -> None:
    clock = Clock()
    stream = LoaderStream(Stocked(clock, stock=0, seconds=1.0), None, clock)
    stream.settle(6)
    assert clock.seconds == pytest.approx(106)


def test_settling_is_not_misled_by_noise_over_a_stock() -> None:
    clock = Clock()
    stocked = Stocked(clock, stock=0, seconds=0.0)
    waits = iter([0.0001, 0.0009, 0.002, 0.0001, 1.0, 1.0])
    stream = LoaderStream(stocked, None, clock)
    pulled = stream.pull

    def noisy() -> Pulled:
        clock.seconds += (seconds := next(waits))
        return pulled()._replace(wait_seconds=seconds)

    stream.pull = noisy  # type: ignore[method-assign] # waits as the clock of a real machine has them
    stream.settle(6)
    assert clock.seconds == pytest.approx(100 + 0.0031 + 1.0), "the first long wait ends it, no short one"


def test_a_pass_of_one_epoch_ends_with_it_though_its_length_is_told_wrongly() -> None:
    clock = Clock()
    stream = LoaderStream(Slow(clock, BATCHES, 0.25, 1.0), None, clock)
    came: list[int] = []

    def step(batch: Batch) -> None:
        came.extend(batch.ids.tolist())

    begin = clock()
    one = run_epoch(stream, step, HostWaiting(), Budget(seconds=60), clock, begin, samples=100)
    assert came == [0, 1, 2, 3, 4]
    assert one.images == 5
    assert one.seconds == pytest.approx(1.75), "what the next epoch takes to begin is left out"


@pytest.mark.parametrize(("pulls", "complete"), [(3, [True]), (4, [True, False]), (6, [True, True])])
def test_an_epoch_that_came_whole_is_complete_though_nothing_follows(
    pulls: int, complete: list[bool]
) -> None:
    clock = Clock()
    slow = Slow(clock, BATCHES, 0.25, 1.0)
    ledger = Ledger(np.arange(5))
    stream = LoaderStream(slow, ledger, clock)
    for _ in range(pulls):
        stream.pull()
    stream.finish()
    assert [epoch.complete for epoch in ledger.count().epochs] == complete


class Skipping(Loader):
    """Batches of ids, with the bad samples that each of them, and the end of an epoch, tells of."""

    samples_per_epoch = 6

    def __init__(self, *told: tuple[Sequence[int], Sequence[int]]) -> None:
        self._told = told
        self._faults: list[Fault] = []

    def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - every epoch is the same
        for ids, bad in self._told:
            self._faults += [Fault(sample, f"{sample}.jpg", "empty") for sample in bad]
            if ids:
                yield batch_of(ids)

    def take_faults(self) -> list[Fault]:
        taken, self._faults = self._faults, []
        return taken


def test_bad_samples_are_done_with_the_batch_that_tells_of_them() -> None:
    loader = Skipping(([0, 1], []), ([3, -1], [2]), ([5], [4]))
    ledger = Ledger(np.arange(6))
    stream = LoaderStream(loader, ledger, Clock())
    assert [stream.pull()[1::2] for _ in range(3)] == [(2, 2), (1, 2), (1, 2)]
    stream.finish()
    (one,) = ledger.count().epochs
    assert (one.complete, one.unique, one.corrupt, one.missing) == (True, 4, 2, 0)


def test_bad_samples_behind_the_last_batch_are_of_its_epoch() -> None:
    ledger = Ledger(np.arange(6))
    stream = LoaderStream(Skipping(([0, 1, 2, 3], []), ([], [4, 5])), ledger, Clock())
    stream.pull()
    stream.pull()
    first, second = ledger.count().epochs
    assert (first.complete, first.corrupt, first.missing) == (True, 2, 0)
    assert (second.complete, second.corrupt) == (False, 0)
