"""CIFAR-10 in minutes: how accurate ``cnn32`` and the small residual network are, and when.

    tar xf cifar10-jpeg.tar.gz
    python tests/benchmarks/cifar10.py FOLDER [--model NAME] [--loader NAME] [--precision P] [--epochs N]

FOLDER holds train/ and test/ with class folders. A line for each epoch: minutes of training (judging left
out) and top-1 on the test images. The residual network is trained in bfloat16 where the CPU computes in it.
Exit status 1 where a model misses its limit (``LIMITS``).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from throughput.choices import choose_device, choose_work
from throughput.contracts import Augmentation, Source
from throughput.results import EpochRecord, Pass
from throughput.sources import open_source
from throughput.training.course import Training
from throughput.training.recipe import Recipe
from throughput.training.trainer import Silence, train

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of CIFAR-10's training images, in 0..1."""


@dataclass(frozen=True)
class Entry:
    """How a model is trained. epochs: in float32. half_epochs: as many as fit in bfloat16; 0: not in it."""

    epochs: int
    half_epochs: int
    batch_size: int
    recipe: Recipe
    augmentation: Augmentation


RESIDUAL = Entry(
    9,
    18,
    256,
    Recipe(
        optimiser="nesterov",
        learning_rate=0.2,
        weight_decay=5e-4,
        schedule="onecycle",
        label_smoothing=0.1,
        averaging=0.98,
    ),
    Augmentation(crop="random"),
)
ENTRIES = {
    "cnn32": Entry(
        12,
        0,
        128,
        Recipe(learning_rate=1e-3, schedule="cosine", warmup_epochs=0.5),
        Augmentation(crop="none"),
    ),
    "resnet9_half": RESIDUAL,
    "resnet9": replace(RESIDUAL, epochs=16, half_epochs=16, batch_size=512),
}
LIMITS = {"cnn32": (0.68, 10.0), "resnet9_half": (0.88, 25.0), "resnet9": (0.94, 25.0)}
"""Accuracy to be reached, and the minutes of training for it: on two cores; resnet9 is for a GPU."""


def precision_for(entry: Entry, device: torch.device) -> str:
    """On a GPU the usual one; on a CPU bfloat16 where both the CPU and the entry have it.

    The trainer itself does not choose bfloat16 on a CPU, for a fault of torch in convolutions that meet
    nothing but padding (``throughput.training.precision``): the residual network has none.
    """
    if device.type == "cuda":
        return "auto"
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "bf16" if entry.half_epochs and "avx512_bf16" in flags else "fp32"


class Printer(Silence):
    """A line for each epoch."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._minutes = 0.0

    def epoch(self, record: EpochRecord, one: Pass) -> None:
        """Print it."""
        self._minutes += record.seconds / 60
        accuracy = "-" if record.accuracy is None else f"{100 * record.accuracy:.2f} %"
        print(
            f"{self._model}: {self._minutes:6.2f} min, epoch {record.epoch + 1}: {accuracy}, loss "
            f"{record.loss:.3f}, {one.images / one.seconds:,.0f} images/s, "
            f"{100 * one.wait_seconds / one.seconds:.0f} % waiting",
            flush=True,
        )


def shortened(source: Source, images: int) -> Source:
    """With so many train images and as many held out, to see that all works."""
    parts = np.full(len(source.labels), 2, np.int8)
    for part, split in enumerate(("train", "val")):
        ids = np.random.default_rng(0).permutation(source.ids(split))  # type: ignore[arg-type] # both are splits
        parts[ids[:images]] = part
    return source.with_parts(parts)


def main() -> int:
    """Train; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--model", choices=ENTRIES, action="append")
    parser.add_argument("--loader", default="torchvision")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", help="auto, fp32, bf16 or fp16, in place of what suits the device")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--steps", type=int, help="batches in an epoch, to see that all works")
    chosen = parser.parse_args()
    source = open_source(chosen.folder)
    device = choose_device(chosen.device)
    good = True
    for name in chosen.model or ("cnn32", "resnet9_half"):
        entry = ENTRIES[name]
        used = shortened(source, chosen.steps * entry.batch_size) if chosen.steps else source
        work = choose_work(
            used,
            batch_size=entry.batch_size,
            image_size=32,
            device=str(device),
            precision=chosen.precision or precision_for(entry, device),
            augmentation=entry.augmentation,
            mean=MEAN,
            std=STD,
        )
        half = work.compute_dtype != "float32"
        epochs = chosen.epochs or (half and entry.half_epochs) or entry.epochs
        run = train(Training(work, name, chosen.loader, epochs, entry.recipe), Printer(name)).run
        least, most_minutes = LIMITS[name]
        minutes = sum(one.seconds for one in run.epochs) / 60
        good &= (run.epochs[-1].accuracy or 0) >= least and minutes <= most_minutes
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
