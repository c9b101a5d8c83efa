"""A pass by a clock that loader and step move: its times are exact, its events in order."""

from __future__ import annotations

import pytest
import torch

from throughput.contracts import Batch
from throughput.errors import OptionError
from throughput.measure.budget import Budget
from throughput.measure.phases import run_passes
from throughput.measure.stream import Pulled
from throughput.measure.waiting import HostWaiting, waiting_on
from throughput.results import Pass, Phase, Rate

WAIT, STEP = 0.25, 0.75


class Bench:
    """A stream, a step and a waiting in one, on one clock, that write down what is called."""

    def __init__(self, finish_seconds: float = 0.0) -> None:
        self.seconds = 100.0
        self.events: list[str] = []
        self.ticks: list[float] = []
        self._finish_seconds = finish_seconds
        self._host = HostWaiting()

    def clock(self) -> float:
        return self.seconds

    def pull(self) -> Pulled:
        self.events.append("pull")
        self.seconds += WAIT
        ids = torch.arange(8)
        return Pulled(Batch(ids, ids, ids), 7, WAIT, len(ids))

    def step(self, batch: Batch) -> None:
        assert len(batch.ids) == 8
        self.events.append("step")
        self.seconds += STEP

    def pulled(self, wait_seconds: float) -> None:
        self.events.append("pulled")
        self._host.pulled(wait_seconds)

    def stepped(self) -> None:
        self.events.append("stepped")

    def finish(self) -> tuple[float, ...]:
        self.events.append("finish")
        self.seconds += self._finish_seconds
        return self._host.finish()

    def run(self, budget: Budget) -> tuple[Pass, ...]:
        return run_passes(self, self.step, self, budget, self.clock, self.ticks.append)


def test_a_pass_of_steps_is_exact() -> None:
    passes = Bench().run(Budget(steps=4, repeats=2, warmup_steps=3))
    assert passes == (Pass(28, 4.0, 1.0, (WAIT,) * 4, batch_begin_seconds=(0.0, 1.0, 2.0, 3.0)),) * 2


def test_a_pass_of_seconds_ends_with_the_batch_that_reaches_them() -> None:
    (one,) = Bench().run(Budget(seconds=2.5, repeats=1, warmup_steps=0))
    assert one == Pass(21, 3.0, 0.75, (WAIT,) * 3, batch_begin_seconds=(0.0, 1.0, 2.0))
    (exact,) = Bench().run(Budget(seconds=2.0, repeats=1, warmup_steps=0))
    assert exact.seconds == 2.0


def test_steps_take_the_place_of_seconds() -> None:
    (one,) = Bench().run(Budget(seconds=1e-9, steps=5, repeats=1))
    assert len(one.batch_wait_seconds) == 5


def test_events_come_in_order_and_the_warm_up_is_finished_before_the_clock_starts() -> None:
    bench = Bench()
    bench.run(Budget(steps=2, repeats=2, warmup_steps=1))
    batch = ["pull", "pulled", "step", "stepped"]
    assert bench.events == [*batch, "finish", *(batch * 2), "finish", *(batch * 2), "finish"]


def test_the_devices_work_belongs_to_the_pass_that_queued_it() -> None:
    first, second = Bench(finish_seconds=10).run(Budget(steps=1, repeats=2))
    assert first.seconds == second.seconds == 11.0
    assert first.wait_seconds == WAIT


def test_waits_of_the_warm_up_do_not_count() -> None:
    (one,) = Bench().run(Budget(steps=1, repeats=1, warmup_steps=9))
    assert one.batch_wait_seconds == (WAIT,)


def test_progress_rises_to_the_number_of_passes() -> None:
    bench = Bench()
    bench.run(Budget(steps=2, repeats=2))
    assert bench.ticks == [0.5, 1.0, 1.5, 2.0]
    bench.ticks.clear()
    bench.run(Budget(seconds=1.5, repeats=1))
    assert bench.ticks == pytest.approx([1 / 1.5, 1.0])


def test_a_single_pass_has_no_low_and_no_high() -> None:
    assert Phase(Bench().run(Budget(steps=2, repeats=1))).images_per_second == Rate(7.0, None, None)
    rate = Phase(Bench().run(Budget(steps=2, repeats=2))).images_per_second
    assert (rate.median, rate.low, rate.high) == pytest.approx((7.0, 7.0, 7.0))


def test_a_batch_is_let_go_before_the_next_is_pulled() -> None:
    import weakref

    class Watching(Bench):
        def pull(self) -> Pulled:
            assert all(reference() is None for reference in held)
            pulled = super().pull()
            held.append(weakref.ref(pulled.batch.images))
            return pulled

    held: list[weakref.ref[torch.Tensor]] = []
    Watching().run(Budget(steps=3, repeats=2, warmup_steps=2))
    assert len(held) == 8


def test_on_a_cpu_waiting_is_what_pulling_took() -> None:
    waiting = waiting_on(torch.device("cpu"))
    for seconds in (0.5, 0.25):
        waiting.pulled(seconds)
        waiting.stepped()
    assert waiting.finish() == (0.5, 0.25)
    assert waiting.finish() == ()


@pytest.mark.parametrize(
    "budget", [{"seconds": 0}, {"seconds": -1}, {"seconds": float("nan")}, {"steps": 0}, {"repeats": 0}]
)
def test_a_budget_that_measures_nothing_is_refused(budget: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="must be"):
        Budget(**budget)
