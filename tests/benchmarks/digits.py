"""scikit-learn's digits through ``cnn28``, by every loader: five folds, so that each digit is tested once.

    python tests/benchmarks/digits.py [LOADER...]

It shows each loader's accuracy and time, and where two loaders' models differ: on how many digits one is
right and the other is wrong, and how likely that many are by chance (McNemar's exact test). Exit status 1
unless every loader reaches 98.0 % in 90 s a fold, and no two differ on more than 1 %.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

from throughput.choices import choose_work
from throughput.contracts import Augmentation, Source, Work
from throughput.sources import open_source
from throughput.training.course import Training
from throughput.training.recipe import Recipe
from throughput.training.trainer import train

LOADERS = ("torchvision", "webdataset", "dali", "roi")
FOLDS, EPOCHS = 5, 14
RECIPE = Recipe(learning_rate=2e-3, schedule="cosine", warmup_epochs=1)
# Digits have a hand: no flips, no crops.
AUGMENTATION = Augmentation(crop="none", flip=0.0)
LEAST_ACCURACY, MOST_SECONDS, MOST_DIFFERENT = 0.98, 90.0, 0.01


@dataclass(frozen=True)
class Tested:
    """right: (N,) bool, for each digit, by the model that had not seen it.

    seconds: of the slowest fold, by the clock: start, preparation and judging included.
    """

    right: NDArray[np.bool_]
    seconds: float


def write_digits(folder: Path) -> Source:
    """The digits as arrays, opened."""
    found = load_digits()
    np.save(folder / "digits.npy", np.rint(found.images * (255 / 16)).astype(np.uint8))
    np.save(folder / "labels.npy", found.target)
    return open_source(folder / "digits.npy", labels=folder / "labels.npy")


def parted(source: Source, folds: int = FOLDS) -> Iterator[Source]:
    """The source for each fold, whose images are held out."""
    pieces = StratifiedKFold(folds, shuffle=True, random_state=0).split(source.labels, source.labels)
    for _, tested in pieces:
        parts = np.zeros(len(source.labels), np.int8)
        parts[tested] = 1
        yield source.with_parts(parts)


def work_over(source: Source, seed: int = 0) -> Work:
    """How the digits are shown."""
    return choose_work(
        source,
        batch_size=64,
        image_size=28,
        device="cpu",
        seed=seed,
        augmentation=AUGMENTATION,
        mean=(0.305,),
        std=(0.376,),
    )


def tested_by(source: Source, loader: str) -> Tested:
    """Train on four fifths and test on the fifth, five times."""
    right = np.zeros(len(source.labels), np.bool_)
    slowest = 0.0
    for number, fold in enumerate(parted(source)):
        begin = time.perf_counter()
        trained = train(Training(work_over(fold), "cnn28", loader, EPOCHS, RECIPE))
        seconds = time.perf_counter() - begin
        found = trained.predictions
        assert found is not None
        right[found.ids.numpy()] = (found.outputs.argmax(dim=1) == found.labels).numpy()
        slowest = max(slowest, seconds)
        share = right[fold.ids("val")].mean()
        print(f"{loader}, fold {number + 1}: {100 * share:.2f} % in {seconds:.1f} s", flush=True)
    return Tested(right, slowest)


def main(loaders: tuple[str, ...]) -> int:
    """Print what was found; 1 where a limit is missed."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("THROUGHPUT_CACHE", str(Path(folder, "cache")))
        source = write_digits(Path(folder))
        tested = {loader: tested_by(source, loader) for loader in loaders}
    for loader, one in tested.items():
        accuracy = f"{100 * one.right.mean():.2f} % of {len(one.right)} digits"
        print(f"{loader}: {accuracy}, {one.seconds:.1f} s a fold at most")
        good &= bool(one.right.mean() >= LEAST_ACCURACY and one.seconds <= MOST_SECONDS)
    for first, second in combinations(tested, 2):
        only_first = int((tested[first].right & ~tested[second].right).sum())
        only_second = int((tested[second].right & ~tested[first].right).sum())
        differ = only_first + only_second
        chance = binomtest(only_first, differ).pvalue if differ else 1.0
        share = differ / len(tested[first].right)
        told = f"{only_first} and {only_second} right alone, {100 * share:.2f} % in all, p = {chance:.3f}"
        print(f"{first} / {second}: {told}")
        good &= share <= MOST_DIFFERENT and chance > 0.05
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or LOADERS))
