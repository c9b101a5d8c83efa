"""Temporary files: where they lie when the folder that is named for them cannot hold all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

TRAIN = "train --model=cnn_small --epochs=1"
BENCH = "bench --model=cnn_small --repeats=1 --seconds=0.1"


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A folder with room for temporary files, but not for the name of a socket."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("command", "start"), [(TRAIN, "fork"), (TRAIN, "spawn"), (TRAIN, "forkserver"), (BENCH, "fork")]
)
def test_workers_hand_over_batches_whatever_the_length_of_its_name(
    command, start, throughput, images, surroundings, long
):
    ran = throughput(
        *command.split(),
        f"--data={images}",
        "--loader=torchvision",
        f"--opt=torchvision.start={start}",
        "--workers=1",
        "--device=cpu",
        "--size=32",
        "--batch=4",
        env=surroundings | {"TMPDIR": str(long)},
    )
    assert ran.returncode == 0, ran.stderr
    assert "Error" not in ran.stderr
    assert list(long.iterdir()) == []
