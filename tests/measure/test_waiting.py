"""Idle spans of a device, from events in its queue; a fake queue stands in for the device."""

from __future__ import annotations

import itertools

import pytest
import torch

from throughput.measure.waiting import CudaWaiting, HostWaiting


class FakeEvent:
    """Happens at a moment of the fake device's clock, in milliseconds."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def synchronize(self) -> None:
        """The fake device has always come to it."""

    def elapsed_time(self, end_event: FakeEvent) -> float:
        return end_event.moment - self.moment


def waiting_with(moments: list[float]) -> CudaWaiting:
    left = itertools.chain(moments)
    return CudaWaiting(torch.device("cuda:0"), lambda: FakeEvent(next(left)))


def test_every_step_has_its_wait_the_first_one_too() -> None:
    # The pass begins at 0; steps run from 100 to 150 and from 200 to 250; the next pass begins at 250.
    waiting = waiting_with([0, 100, 150, 200, 250, 250])
    for _ in range(2):
        waiting.pulled(0.0)
        waiting.stepped()
    assert waiting.finish() == pytest.approx((0.1, 0.05))


def test_a_pass_of_one_step_sees_its_wait() -> None:
    waiting = waiting_with([0, 2000, 2010, 2010])
    waiting.pulled(0.0)
    waiting.stepped()
    assert waiting.finish() == pytest.approx((2.0,))


def test_a_pass_begins_where_the_one_before_ended() -> None:
    waiting = waiting_with([0, 10, 20, 25, 125, 130, 131])
    waiting.pulled(0.0)
    waiting.stepped()
    assert waiting.finish() == pytest.approx((0.01,))
    waiting.pulled(0.0)
    waiting.stepped()
    assert waiting.finish() == pytest.approx((0.1,))


def test_on_the_host_waiting_is_what_was_pulled() -> None:
    waiting = HostWaiting()
    for seconds in (0.5, 0.25):
        waiting.pulled(seconds)
        waiting.stepped()
    assert waiting.finish() == (0.5, 0.25)
    assert waiting.finish() == ()
