"""How well a model does on held-out images."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from throughput.contracts import Batch
from throughput.training.step import TrainingStep


def top1_accuracy(step: TrainingStep, batches: Iterable[Batch]) -> tuple[int, int]:
    """Images whose likeliest class is their label, and all images, over ready batches."""
    step.eval()
    correct = torch.zeros((), dtype=torch.int64)
    images = 0
    for batch in batches:
        hits = step.predict(batch.images).argmax(dim=1) == batch.labels
        correct = correct.to(hits.device) + hits.sum()
        images += len(batch.ids)
    step.train()
    return int(correct), images
