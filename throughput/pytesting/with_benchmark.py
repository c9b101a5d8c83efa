"""Where pytest-benchmark runs: its figures are those of the measured passes, seconds for an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from throughput.pytesting.options import is_timed

if TYPE_CHECKING:
    from throughput.pytesting.measuring import Measured
    from throughput.pytesting.records import Record


class MeasuredClock:
    """What pytest-benchmark reads the time from: it goes on by what a pass took, when that is told.

    The passes are measured in processes of their own, by a method of their own; timed anew from outside, they
    would hold the start of these processes.
    """

    __name__ = "throughput.measured_passes"

    def __init__(self) -> None:
        self._seconds = 0.0

    def __call__(self) -> float:
        return self._seconds

    def let_pass(self, seconds: float) -> None:
        """Go on."""
        self._seconds += seconds


@pytest.fixture
def _throughput_clock(request: pytest.FixtureRequest) -> MeasuredClock:
    """Before ``benchmark`` is made: it takes its timer from the mark."""
    if "benchmark" in request.node.funcargs:
        raise pytest.UsageError(
            f"{request.node.nodeid} asks for `benchmark` as well as for a fixture of throughput, which uses "
            "it: leave `benchmark` out"
        )
    clock = MeasuredClock()
    closest = request.node.get_closest_marker("benchmark")
    chosen = closest.kwargs if closest is not None else {}
    request.node.add_marker(pytest.mark.benchmark(**{**chosen, "timer": clock}), append=False)
    return clock


@pytest.fixture
def throughput_measured(
    request: pytest.FixtureRequest, _throughput_clock: MeasuredClock, benchmark: Any
) -> Iterator[Measured]:
    """Runs a measurement and records it: what the fixtures of throughput are made of."""
    from throughput.pytesting.measuring import Measured

    def tell(record: Record) -> None:
        benchmark.extra_info.update(record.extra_info())
        lengths = iter(record.seconds_per_image())
        benchmark.pedantic(
            # Once more than there are passes where it profiles.
            lambda: _throughput_clock.let_pass(next(lengths, 0.0)),
            rounds=len(record.seconds_per_image()),
        )

    measured = Measured(request, tell, timed=is_timed(request.config, enabled=benchmark.enabled))
    yield measured
    if measured.used and not measured.told:
        benchmark.skipped = True  # it failed before anything was timed: pytest-benchmark need not complain
