"""Every loader on the same data, in interleaved rounds, each certified and counted: a test for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from throughput.pytesting.fixtures import Benchmark
    from throughput.results import PhaseName


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The loaders of ``--throughput-loaders``."""
    from throughput.api import chosen_loaders
    from throughput.errors import ThroughputError
    from throughput.measure.plan import PHASES
    from throughput.registry import load_loader

    option = metafunc.config.getoption
    try:
        names = chosen_loaders(option("throughput_loaders"))
        for name in names:
            load_loader(name)
    except ThroughputError as error:
        raise pytest.UsageError(f"--throughput-loaders: {error}") from error
    unknown = set(_phases(metafunc.config)) - set(PHASES)
    if unknown or not _phases(metafunc.config):
        raise pytest.UsageError(
            f"--throughput-phases must be some of {', '.join(PHASES)}, got {option('throughput_phases')}"
        )
    metafunc.parametrize("loader", names)


def _phases(config: pytest.Config) -> list[PhaseName]:
    return [phase.strip() for phase in config.getoption("throughput_phases").split(",") if phase.strip()]


def test_loader(loader: str, request: pytest.FixtureRequest, train_benchmark: Benchmark) -> None:
    """Measured beside all others; the fixture fails what does other work, miscounts or misses a limit."""
    from throughput.api import chosen_loaders

    together = chosen_loaders(request.config.getoption("throughput_loaders"))
    train_benchmark(loader, phases=_phases(request.config), together=together)
