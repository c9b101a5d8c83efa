"""Every loader on the same data, in interleaved rounds, each certified and counted: a test for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from throughput.pytesting.fixtures import Benchmark


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The loaders of ``--throughput-loaders``."""
    from throughput.api import chosen_loaders
    from throughput.errors import ThroughputError

    try:
        names = chosen_loaders(metafunc.config.getoption("throughput_loaders"))
    except ThroughputError as error:
        raise pytest.UsageError(str(error)) from error
    metafunc.parametrize("loader", names)


def test_loader(loader: str, request: pytest.FixtureRequest, train_benchmark: Benchmark) -> None:
    """Measured beside all others; the fixture fails what does other work, miscounts or misses a limit."""
    from throughput.api import chosen_loaders

    option = request.config.getoption
    phases = [phase.strip() for phase in option("throughput_phases").split(",") if phase.strip()]
    together = chosen_loaders(option("throughput_loaders"))
    train_benchmark(loader, phases=phases, together=together)
