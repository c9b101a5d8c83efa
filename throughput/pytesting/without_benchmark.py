"""Where pytest-benchmark does not run (``-p no:benchmark``): the same, without its table and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from throughput.pytesting.options import is_timed

if TYPE_CHECKING:
    from throughput.pytesting.measuring import Measured


@pytest.fixture
def throughput_measured(request: pytest.FixtureRequest) -> Measured:
    """Runs a measurement and records it: what the fixtures of throughput are made of."""
    from throughput.pytesting.measuring import Measured

    return Measured(request, lambda _: None, timed=is_timed(request.config, enabled=True))
