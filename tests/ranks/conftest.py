"""Several ranks of the command, as torchrun starts them, on small images."""

from __future__ import annotations

from pathlib import Path

import pytest
from starting import Torchrun


@pytest.fixture(scope="session")
def torchrun(surroundings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Torchrun:
    """Runs the command in several ranks, with the tests' cache."""
    short: Path = tmp_path_factory.mktemp("r")  # names of sockets are limited
    return Torchrun({**surroundings, "TMPDIR": str(short), "OMP_NUM_THREADS": "1"})
