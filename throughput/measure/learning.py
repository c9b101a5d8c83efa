"""A model that is trained by the batches: what ``throughput bench`` feeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from throughput.contracts import Batch, Loader, Work
from throughput.errors import LoaderError
from throughput.measure.feed import Feed
from throughput.registry import load_model_family_for
from throughput.results import PhaseName, Row
from throughput.training.evaluate import top1_accuracy
from throughput.training.step import StepSettings, TrainingStep

MANY_CLASSES = 1000
"""Outputs of the model, at least, for a pipeline that does not tell its classes: ImageNet's."""


@dataclass(frozen=True)
class Learning:
    """A registered model in training. compile: use torch.compile."""

    model: str
    compile: bool = False

    def feed(self, loader: Loader, work: Work) -> Feed:
        """Ready batches."""
        return Feed(loader, work)

    def start(self, work: Work, batches: Sequence[Batch], *, takes_work: bool) -> _Learner:
        """A fresh model, the same for every loader, phase and round of a seed."""
        torch.manual_seed(work.seed)
        family = load_model_family_for(self.model)
        classes = len(work.source.classes)
        if not takes_work:
            # A pipeline of the user's own may serve other data than --data names, of more classes than its
            # first batches show: labels beyond wrap around, which changes nothing about the speed.
            highest = max(int(batch.labels.max()) for batch in batches)
            classes = max(MANY_CLASSES, classes, highest + 1)
        model = family.build(self.model, classes, work.channels)
        shared = work.world_size > 1
        settings = StepSettings(torch.device(work.device), work.compute_dtype, self.compile, shared=shared)
        return _Learner(TrainingStep(model, settings, wrap_labels=None if takes_work else classes))


class _Learner:
    def __init__(self, step: TrainingStep) -> None:
        self._step = step
        self._untrained: dict[str, Any] | None = step.state()

    def __call__(self, batch: Batch) -> object:
        return self._step(batch)

    def wait(self) -> None:
        self._step.mean_loss()

    def begin(self, state: Path) -> None:
        before = self._untrained
        if state.exists():
            before = torch.load(state, map_location="cpu", weights_only=True)
        self._untrained = None  # its memory is free
        assert before is not None
        self._step.restore(before)

    def leave(self, state: Path) -> None:
        torch.save(self._step.state(), state)

    def told(self, row: Row, phase: PhaseName) -> Row:
        if phase != "train":
            return row
        step = self._step
        return replace(row, loss=step.mean_loss(), train_steps=step.steps, train_images=step.images)

    def judge(self, row: Row, batches: Iterable[Batch]) -> Row:
        """Top-1 accuracy."""
        correct, images = top1_accuracy(self._step, batches)
        if images == 0:
            raise LoaderError("the loader yielded no image of the val split")
        return replace(row, accuracy=correct / images)
