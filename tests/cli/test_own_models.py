"""A model of the user's own: its checkpoint is read only where its name is given, as a file runs no code."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess[str]]

NET = """
from torch import nn

print("imported")


def make(outputs, channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 8 * 8, outputs))
"""
DATA = ("--data=images.npy", "--labels=labels.npy", "--workers=1", "--batch=10")
COMMANDS = {
    "evaluate": ("--checkpoint=own.pt", *DATA),
    "predict": ("image.png", "--checkpoint=own.pt"),
    "features": ("features.npy", "--checkpoint=own.pt", *DATA),
    "prune": ("own.pt", "pruned.pt", "--sparsity=0.5", "--epochs=1", *DATA),
}


@pytest.fixture(scope="module")
def folder(throughput: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``own.pt`` lies, of a model that is in no registry."""
    folder = tmp_path_factory.mktemp("own")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", np.arange(40) % 2)
    Image.fromarray(images[0]).save(folder / "image.png")
    (folder / "own_net.py").write_text(NET)
    ran = throughput(
        "train", *DATA, "--model=own_net:make", "--size=8", "--epochs=1", "--checkpoint=own.pt", cwd=folder
    )
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_checkpoint_runs_no_code_unless_its_model_is_named(
    command: str, throughput: Run, here: Run, folder: Path
) -> None:
    refused = here(command, *COMMANDS[command], cwd=folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert line.startswith("throughput: own.pt holds weights of own_net:make")
    assert line.endswith("give --model own_net:make")
    ran = throughput(command, *COMMANDS[command], "--model=own_net:make", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("imported")
