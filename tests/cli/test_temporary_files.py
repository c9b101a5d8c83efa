"""Temporary files: where they lie when the folder that is named for them cannot hold all of them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A folder with room for temporary files, but not for the name of a socket."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "train --loader=torchvision --model=cnn_small --size=32 --batch=4 --epochs=1 --precision=fp32",
        "bench --loader=torchvision --model=cnn_small --size=32 --batch=4 --repeats=1 --seconds=0.1",
    ],
)
def test_workers_hand_over_batches_whatever_the_length_of_its_name(
    command, throughput, images, surroundings, long
):
    ran = throughput(
        *command.split(),
        f"--data={images}",
        "--workers=1",
        "--device=cpu",
        env=surroundings | {"TMPDIR": str(long)},
    )
    assert ran.returncode == 0, ran.stderr
    assert list(long.iterdir()) == []
