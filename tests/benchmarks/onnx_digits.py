"""scikit-learn's digits from training to onnxruntime: fp32 is as right as torch, int8 nearly so.

    python tests/benchmarks/onnx_digits.py [--folds N]

In each fold ``cnn28`` is trained, exported and quantised; figures are of all folds together, so that every
digit is tested once. Exit status 1 unless fp32 gives every digit the class that torch gives it, and int8
(static) is within half a point.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from digits import EPOCHS, FOLDS, RECIPE, parted, work_over, write_digits

from throughput.contracts import Source, Work
from throughput.measure.environment import usable_cores
from throughput.models.answering import Answer, session_answer
from throughput.models.exporting import export
from throughput.models.onnx_files import describe, read_onnx
from throughput.models.providers import open_session
from throughput.models.quantising import quantise
from throughput.training.checkpoint import read
from throughput.training.course import Training
from throughput.training.judging import Judging, predictions_of
from throughput.training.predictions import Predictions
from throughput.training.trainer import train

LOADER, MOST_LOST = "torchvision", 0.5  # points
KINDS = ("fp32", "int8-static")


def answers(source: Source, folder: Path) -> dict[str, Predictions]:
    """Of the model in torch and of its files, for the held-out digits."""
    checkpoint, file = folder / "digits.pt", folder / "digits.onnx"
    train(Training(work_over(source), "cnn28", LOADER, EPOCHS, RECIPE, checkpoint=checkpoint))
    judging = Judging(source, LOADER, batch_size=64, device="cpu")
    found = read(checkpoint)
    export(found.load(), found.subject, file, judging)
    given = read_onnx(file)
    made = {"fp32": given.data, "int8-static": quantise(given, "int8-static", judging)}
    told = {"torch": predictions_of(judging, checkpoint, found)}
    for kind in KINDS:
        described = describe(file, made[kind])
        answer = session_answer(open_session(described.data, "cpu", usable_cores()), described.layout)
        told[kind] = judging.answers(found.subject, partial(_of_planes, answer))
    return told


def _of_planes(answer: Answer, _: Work) -> Answer:
    """For ready images, whose channels lie side by side."""
    return lambda images: answer(images.contiguous())


def main() -> int:
    """Print what was found; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folds", type=int, default=FOLDS)
    chosen = parser.parse_args()
    right = dict.fromkeys(("torch", *KINDS), 0)
    alike = dict.fromkeys(KINDS, 0)
    digits = 0
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("THROUGHPUT_CACHE", str(Path(name, "cache")))
        source = write_digits(Path(name))
        for number, fold in enumerate(parted(source, chosen.folds), start=1):
            folder = Path(name, str(number))
            folder.mkdir()
            found = answers(fold, folder)
            classes = {kind: one.outputs.argmax(dim=1) for kind, one in found.items()}
            digits += len(found["torch"].labels)
            for kind, given in classes.items():
                right[kind] += int((given == found["torch"].labels).sum())
            for kind in KINDS:
                alike[kind] += int(torch.eq(classes[kind], classes["torch"]).sum())
            print(f"fold {number} of {chosen.folds} done", file=sys.stderr, flush=True)
    for kind, count in right.items():
        same = "" if kind == "torch" else f", the same class as torch for {alike[kind]}"
        print(f"{kind}: {100 * count / digits:.2f} % of {digits} digits{same}")
    lost = 100 * (right["torch"] - right["int8-static"]) / digits
    good = alike["fp32"] == digits and right["fp32"] == right["torch"] and abs(lost) <= MOST_LOST
    print(f"int8-static: {lost:.2f} points lost, {MOST_LOST:g} at most")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
