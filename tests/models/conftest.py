"""Two classes of small images, a model that tells them apart, and its file, exported once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from throughput.contracts import Source


class Trained(NamedTuple):
    """data, labels: arrays of 60 grey images, dark on the left or on the right. checkpoint: of ``cnn28``."""

    source: Source
    checkpoint: Path
    onnx: Path


def write_sides(folder: Path) -> tuple[Path, Path]:
    """Arrays of 60 images whose brighter half tells their class."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.integers(0, 100, (60, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 14 * label : 14 * label + 14] += 120
    np.save(folder / "sides.npy", images)
    np.save(folder / "labels.npy", labels)
    return folder / "sides.npy", folder / "labels.npy"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from throughput.models.exporting import export
    from throughput.sources import open_source
    from throughput.training.checkpoint import read
    from throughput.training.course import Training
    from throughput.training.judging import Judging
    from throughput.training.recipe import Recipe
    from throughput.training.trainer import train

    folder = tmp_path_factory.mktemp("trained")
    data, labels = write_sides(folder)
    source = open_source(data, labels=labels)
    judging = Judging(source, batch_size=16, workers=1, device="cpu")
    checkpoint, onnx = folder / "sides.pt", folder / "sides.onnx"
    from throughput.choices import choose_work
    from throughput.contracts import Augmentation

    work = choose_work(
        source,
        batch_size=16,
        image_size=28,
        workers=1,
        device="cpu",
        augmentation=Augmentation(crop="none", flip=0.0),
        mean=(0.4,),
        std=(0.3,),
    )
    train(Training(work, "cnn28", "torchvision", 2, Recipe(learning_rate=1e-3), checkpoint=checkpoint))
    found = read(checkpoint)
    export(found.load(), found.subject, onnx, judging, command="throughput train sides")
    return Trained(source, checkpoint, onnx)
