"""Two checkouts of somebody's project, whose loader takes a delay that is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

LOADER = """
from throughput.testing import FakeLoaderFactory, FakeOptions

DELAY = {delay}
BUSY = {busy}


class Theirs(FakeLoaderFactory):
    name = "theirs"

    def open(self, work, options):
        {opening}
        options = FakeOptions(batch_seconds=DELAY, busy_seconds=BUSY, inline=True, drop={drop})
        return super().open(work, options)
"""

TEST = """
import pytest
from loaders.theirs import Theirs

{mark}
def test_loading(loader_benchmark):
    loader_benchmark(Theirs, batch_size={batch}, image_size=16, certified=False)
    raise AssertionError("what a test asserts itself is not looked at")


def test_something_else():
    raise AssertionError("it measures nothing, and is left out")
"""

Checkout = Callable[..., Path]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Write a checkout with a ``loaders`` folder of its own, beside which ours is ``throughput.loaders``."""

    def write(
        name: str,
        *,
        delay: float = 0.01,
        busy: float = 0.0,
        drop: int = 0,
        batch: int = 4,
        mark: str = "",
        opening: str = "",
        test: str = TEST,
    ) -> Path:
        folder = tmp_path / name
        (folder / "loaders").mkdir(parents=True)
        (folder / "loaders" / "__init__.py").touch()
        (folder / "loaders" / "theirs.py").write_text(
            LOADER.format(delay=delay, busy=busy, drop=drop, opening=opening)
        )
        # What a project switches off for its daily tests, a gate needs all the same.
        (folder / "pytest.ini").write_text(
            "[pytest]\naddopts = -n 2 --benchmark-skip --throughput-fail-below=99%\n"
        )
        (folder / "tests").mkdir()
        (folder / "tests" / "test_theirs.py").write_text(test.format(batch=batch, mark=mark))
        return folder

    return write
