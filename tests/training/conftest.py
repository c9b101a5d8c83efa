"""Small things to train on: scikit-learn's digits as arrays, one core, and nothing of it kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from throughput.choices import choose_work
from throughput.contracts import Augmentation, Work
from throughput.sources import open_source
from throughput.training.course import Training
from throughput.training.recipe import Recipe

IMAGES = 240
MakeTraining = Callable[..., Training]


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    """Small layers on several threads wait for each other on a busy machine."""
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {min(cores)})
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    os.sched_setaffinity(0, cores)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``digits.npy``, 8x8 grey uint8, and ``labels.npy``: the first so many."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    found = load_digits()
    np.save(folder / "digits.npy", np.rint(found.images[:IMAGES] * (255 / 16)).astype(np.uint8))
    np.save(folder / "labels.npy", found.target[:IMAGES].astype(np.int64))
    np.save(folder / "heights.npy", found.target[:IMAGES].astype(np.float32) / 10)
    return folder


@pytest.fixture
def work(digits: Path) -> Work:
    """16 px, batches of 32, one worker, in float32."""
    return choose_work(
        open_source(digits / "digits.npy", labels=digits / "labels.npy"),
        batch_size=32,
        image_size=16,
        workers=1,
        device="cpu",
        precision="fp32",
        augmentation=Augmentation(crop="none", flip=0),
    )


@pytest.fixture
def training(work: Work) -> MakeTraining:
    """Makes a training of ``cnn28``, two epochs long, with changes of it, of its work or of its recipe."""

    def make(epochs: int = 2, recipe: dict[str, Any] | None = None, **changes: Any) -> Training:
        chosen = Recipe(**{"learning_rate": 2e-3, **(recipe or {})})
        return replace(Training(work, "cnn28", "torchvision", epochs, chosen), **changes)

    return make
