"""What three models of scikit-learn's digits are worth together, and one with a fifth of its weights.

    python tests/benchmarks/digits_models.py [--folds N]

In each fold ensembles of three ``cnn28`` of different seeds are trained, and one more, which is pruned and
learns on. The figures are of all folds together, so that every digit is tested once. Exit status 1 unless
the means of the members' probabilities are right more often than the members are in the mean, over all
ensembles, and pruning costs a point at most.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from digits import EPOCHS, FOLDS, RECIPE, parted, work_over, write_digits
from numpy.typing import NDArray

from throughput.contracts import Source
from throughput.training.checkpoint import read
from throughput.training.course import Training
from throughput.training.judging import Judging
from throughput.training.predictions import Predictions, ensemble
from throughput.training.pruning import compare
from throughput.training.recipe import Recipe
from throughput.training.trainer import train

LOADER = "torchvision"
ENSEMBLES = ((11, 12, 13), (21, 22, 23), (31, 32, 33))
"""Seeds of the members."""
MEMBER_EPOCHS = 5
"""Members that have learnt all there is to learn err on the same few digits, whatever their seed."""
SPARSITY, TUNING_EPOCHS, TUNING = 0.8, 4, Recipe(learning_rate=1e-3, schedule="cosine")
MOST_LOST = 1.0  # points
STAGES = ("before", "pruned", "pruned and tuned")


def right_of_ensembles(source: Source) -> NDArray[np.int64]:
    """(E, M + 1): held-out digits that each member tells right, and in the last column all together."""
    right = []
    for seeds in ENSEMBLES:
        trainings = [
            Training(work_over(source, seed), "cnn28", LOADER, MEMBER_EPOCHS, RECIPE) for seed in seeds
        ]
        found = [train(training).predictions for training in trainings]
        members = [one.probabilities() for one in found if one is not None]
        right.append([_right(one) for one in (*members, ensemble(members))])
    return np.array(right)


def right_of_pruned(source: Source, folder: Path) -> NDArray[np.int64]:
    """(3,): held-out digits that a model tells right at each of STAGES."""
    file = folder / "whole.pt"
    train(Training(work_over(source), "cnn28", LOADER, EPOCHS, RECIPE, checkpoint=file))
    judging = Judging(source, LOADER, batch_size=64, device="cpu")
    _, stages = compare(judging, file, read(file), SPARSITY, "magnitude", recipe=TUNING, epochs=TUNING_EPOCHS)
    return np.array([round((stage.accuracy or 0) * len(source.ids("val"))) for stage in stages])


def _right(found: Predictions) -> int:
    return int((found.outputs.argmax(dim=1) == found.labels).sum())


def main() -> int:
    """Print what was found; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folds", type=int, default=FOLDS)
    chosen = parser.parse_args()
    ensembles = np.zeros((len(ENSEMBLES), len(ENSEMBLES[0]) + 1), np.int64)
    pruned = np.zeros(len(STAGES), np.int64)
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("THROUGHPUT_CACHE", str(Path(name, "cache")))
        source = write_digits(Path(name))
        for number, fold in enumerate(parted(source, chosen.folds), start=1):
            folder = Path(name, str(number))
            folder.mkdir()
            ensembles += right_of_ensembles(fold)
            pruned += right_of_pruned(fold, folder)
            print(f"fold {number} of {chosen.folds} done", file=sys.stderr, flush=True)
    percent = 100 / len(source.labels)
    for seeds, right in zip(ENSEMBLES, percent * ensembles, strict=True):
        members = ", ".join(f"{share:.2f} %" for share in right[:-1])
        print(
            f"seeds {seeds}, {MEMBER_EPOCHS} epochs: {members}, in the mean {right[:-1].mean():.2f} %; "
            f"together {right[-1]:.2f} %"
        )
    gained = percent * (ensembles[:, -1] - ensembles[:, :-1].mean(axis=1)).mean()
    print(f"together {gained:+.2f} points against the mean of the members, over all ensembles")
    told = ", ".join(f"{stage} {share:.2f} %" for stage, share in zip(STAGES, percent * pruned, strict=True))
    lost = percent * (pruned[0] - pruned[-1])
    print(f"{100 * SPARSITY:g} % pruned: {told}: {lost:.2f} points lost, {MOST_LOST:g} at most")
    return 0 if gained > 0 and lost <= MOST_LOST else 1


if __name__ == "__main__":
    sys.exit(main())
