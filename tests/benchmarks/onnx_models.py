"""Models as ONNX files: exported, checked, and compared with torch on real photos.

    python tests/benchmarks/onnx_models.py FOLDER_OF_CLASS_FOLDERS [--model NAME]...

A line in Markdown for each model, untrained, in its own image size. Where a model begins with zeros in its
last layer, as ViT does, that layer is drawn at random: zeros would agree with anything. Exit status 1 where
logits are off by more than a thousandth of an image's largest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from throughput.choices import choose_image_size, choose_work
from throughput.errors import ThroughputError
from throughput.models.exporting import export
from throughput.models.parity import LIMIT
from throughput.sources import open_source
from throughput.training.checkpoint import Subject
from throughput.training.classifier import classifier_of
from throughput.training.judging import Judging

MODELS = (
    "cnn28",
    "cnn32",
    "cnn64",
    "resnet9",
    "resnet18",
    "resnet50",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_b_16",
)
CHANNELS = {"cnn28": 1}


def main() -> int:
    """Export each; 1 where one is off."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append")
    chosen = parser.parse_args()
    source = open_source(chosen.folder)
    judging = Judging(source, batch_size=32)
    good = True
    print("| model | px | MB | largest difference | relative | top-1 agrees | images | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name in chosen.model or MODELS:
        work = choose_work(
            source,
            batch_size=1,
            image_size=choose_image_size(None, name),
            channels=CHANNELS.get(name, 3),
            device="cpu",
        )
        subject = replace(Subject.of(name, work), source="", train_digest="")
        torch.manual_seed(0)
        model = subject.build()
        _, last = classifier_of(model)
        if not last.weight.any():
            nn.init.normal_(last.weight, std=0.02)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                made = export(model, subject, Path(folder, "model.onnx"), judging)
            except ThroughputError as error:
                print(f"| {name} | {subject.image_size} | {error} | | | | | |", flush=True)
                good = False
                continue
        parity = made.parity
        print(
            f"| {name} | {subject.image_size} | {made.bytes / 1e6:,.1f} | {parity.largest:.1e} | "
            f"{parity.relative:.1e} | {100 * parity.agreement:.2f} % | {parity.images} | "
            f"{time.perf_counter() - begin:.0f} |",
            flush=True,
        )
        good &= parity.relative <= LIMIT and not parity.constant
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
