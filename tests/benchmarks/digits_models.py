"""What three models of scikit-learn's digits are worth together, and one of them with a fifth of its weights.

    python tests/benchmarks/digits_models.py [--folds N]

In each fold three ``cnn28`` of different seeds are trained, and the first of them is pruned and learns on.
The figures are of all folds together, so that every digit is tested once. Exit status 1 unless the mean of
the models' probabilities is right more often than they are in the mean, and pruning costs a point at most.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from digits import FOLDS, RECIPE, parted, work_over, write_digits

from throughput.contracts import Source
from throughput.training.checkpoint import read
from throughput.training.course import Training
from throughput.training.judging import Judging
from throughput.training.predictions import Predictions, ensemble
from throughput.training.pruning import compare
from throughput.training.recipe import Recipe
from throughput.training.trainer import train

LOADER, SEEDS, EPOCHS = "torchvision", (0, 1, 2), 9
SPARSITY, TUNING_EPOCHS, TUNING = 0.8, 4, Recipe(learning_rate=1e-3, schedule="cosine")
MOST_LOST = 0.01
TOGETHER, BEFORE, PRUNED, TUNED = "together", "before pruning", "pruned", "pruned and tuned"


def right_in(source: Source, folder: Path) -> Counter[str]:
    """How many of the held-out digits each model tells right."""
    right: Counter[str] = Counter()
    members = []
    for seed in SEEDS:
        training = Training(
            work_over(source, seed), "cnn28", LOADER, EPOCHS, RECIPE, checkpoint=folder / f"{seed}.pt"
        )
        found = train(training).predictions
        assert found is not None
        right[f"seed {seed}"] = _right(found)
        members.append(found.probabilities())
    right[TOGETHER] = _right(ensemble(members))
    first = folder / f"{SEEDS[0]}.pt"
    judging = Judging(source, LOADER, batch_size=64, device="cpu")
    _, stages = compare(
        judging, first, read(first), SPARSITY, "magnitude", recipe=TUNING, epochs=TUNING_EPOCHS
    )
    for name, stage in zip((BEFORE, PRUNED, TUNED), stages, strict=True):
        assert stage.accuracy is not None
        right[name] = round(stage.accuracy * len(source.ids("val")))
    return right


def _right(found: Predictions) -> int:
    return int((found.outputs.argmax(dim=1) == found.labels).sum())


def _told(right: Counter[str], images: int) -> str:
    return ", ".join(f"{name} {100 * count / images:.2f} %" for name, count in right.items())


def main() -> int:
    """Print what was found; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folds", type=int, default=FOLDS)
    chosen = parser.parse_args()
    right: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("THROUGHPUT_CACHE", str(Path(name, "cache")))
        source = write_digits(Path(name))
        for number, fold in enumerate(parted(source, chosen.folds)):
            folder = Path(name, str(number))
            folder.mkdir()
            of_fold = right_in(fold, folder)
            print(f"fold {number + 1}: {_told(of_fold, len(fold.ids('val')))}", flush=True)
            right.update(of_fold)
    images = len(source.labels)
    mean = sum(right[f"seed {seed}"] for seed in SEEDS) / len(SEEDS)
    print(f"all {images} digits: {_told(right, images)}")
    print(f"together {100 * right[TOGETHER] / images:.2f} %, in the mean {100 * mean / images:.2f} %")
    lost = (right[BEFORE] - right[TUNED]) / images
    print(f"{100 * SPARSITY:g} % pruned and tuned: {100 * lost:.2f} points lost, {100 * MOST_LOST:g} at most")
    return 0 if right[TOGETHER] > mean and lost <= MOST_LOST else 1


if __name__ == "__main__":
    sys.exit(main())
