"""What trained models answer for the images of a source, through any loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from throughput.choices import (
    CPU_BATCH_SIZE,
    GPU_BATCH_SIZE,
    choose_device,
    choose_work,
    choose_workers,
)
from throughput.contracts import Augmentation, Progress, Source, Work, no_progress
from throughput.errors import OptionError
from throughput.sources.splits import NEITHER, all_held_out
from throughput.sources.splits import VAL as HELD_OUT
from throughput.training.checkpoint import Checkpoint, Subject, outputs_for, require_unseen
from throughput.training.classifier import classifier_of
from throughput.training.errors import CheckpointError
from throughput.training.feeding import Feeding
from throughput.training.precision import choose_dtype
from throughput.training.predictions import Predictions, answering, predict


@dataclass(frozen=True)
class Judging:
    """Which images, and how they come. options: the loader's own, by name. None, auto: what suits here.

    ids: those to look at as if they were held out, and no others; None: those that are.
    """

    source: Source
    loader: str = "torchvision"
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    workers: int | str = "auto"
    precision: str = "auto"
    device: str = "auto"
    ids: NDArray[np.int64] | None = None

    def work(self, subject: Subject, *, every: bool = False) -> Work:
        """The held-out images, made as those that the model knows; or every image as if it were held out.

        A batch has no more images than there are. Raises OptionError where there is none.
        """
        source = self._as_asked(self.source, every=every)
        images = len(source.ids("val"))
        if not images:
            raise OptionError(f"{source.location} holds no image out: there is nothing to judge by")
        device = choose_device(self.device)
        usual = GPU_BATCH_SIZE if device.type == "cuda" else CPU_BATCH_SIZE
        chosen = Work(
            source=source,
            split="val",
            image_size=subject.image_size,
            channels=subject.channels,
            batch_size=usual if self.batch_size is None else self.batch_size,
            augmentation=Augmentation(crop=subject.crop),  # type: ignore[arg-type] # it checks the name
            mean=subject.mean,
            std=subject.std,
            compute_dtype=choose_dtype(self.precision, device),
            workers=choose_workers(self.workers),
            device=str(device),
        )
        return replace(chosen, batch_size=min(chosen.batch_size, images))

    def training_work(self, subject: Subject, augmentation: Augmentation, seed: int) -> Work:
        """The train images, made as those that the model knows."""
        return choose_work(
            self.source,
            batch_size=self.batch_size,
            image_size=subject.image_size,
            workers=self.workers,
            precision=self.precision,
            device=self.device,
            seed=seed,
            augmentation=augmentation,
            channels=subject.channels,
            mean=subject.mean,
            std=subject.std,
        )

    def answers(
        self,
        subject: Subject,
        make_answer: Callable[[Work], Callable[[Tensor], Tensor]],
        progress: Progress = no_progress,
        *,
        every: bool = False,
    ) -> Predictions:
        """What ``make_answer(work)`` gives for the held-out images, or for every image as if it were one.

        Raises OptionError where there is none.
        """
        work = self.work(subject, every=every)
        # A loader converts for training, and the copy, which others use as well, holds both splits.
        whole = replace(work, source=self.source, split="train")
        feeding = Feeding.by(self.loader, self.options, whole)
        prepared = feeding.prepare(whole, progress).work
        wanted = replace(prepared, source=self._as_asked(prepared.source, every=every), split="val")
        with feeding.open(wanted) as feed:
            return predict(make_answer(wanted), feed.epoch(0), wanted.source.ids("val"))

    def _as_asked(self, source: Source, *, every: bool) -> Source:
        """``self.source``, or a copy of it, with what is to be looked at held out."""
        if every:
            return all_held_out(source)
        if self.ids is None:
            return source
        parts = np.full(len(source.labels), NEITHER, np.int8)
        parts[self.ids] = HELD_OUT
        return source.with_parts(parts)


def require_judgeable(path: Path, subject: Subject, source: Source, *, every: bool = False) -> None:
    """Raise CheckpointError where the model knows other classes than the source, or images it is judged by.

    every: by all of them; else by those that are held out.
    """
    require_classes(path, subject, source)
    if not every:
        require_unseen(path, subject, source)
    elif subject.source == source.fingerprint:
        raise CheckpointError(
            f"{path} was trained on images of {source.location}: leave --all out, to judge it by those held "
            "out"
        )


def require_classes(path: Path, subject: Subject, source: Source) -> None:
    """Raise CheckpointError where the model knows other classes than the source."""
    classes, location = source.classes, source.location
    if subject.classes != classes:
        raise CheckpointError(
            f"{path} knows {_told(subject.classes)}, and {location} has {_told(classes)}: "
            "give the data that it was trained for"
        )
    if subject.outputs != (wanted := outputs_for(source)):
        raise CheckpointError(
            f"{path} gives {subject.outputs} numbers for an image, and {location} has {wanted} for each: "
            "give the labels that it was trained for"
        )


def predictions_of(
    judging: Judging,
    path: Path,
    checkpoint: Checkpoint,
    progress: Progress = no_progress,
    *,
    every: bool = False,
) -> Predictions:
    """Probabilities (outputs, for float targets) of the model in a checkpoint, for the held-out images.

    every: for all images of a source that it was not trained on. Raises CheckpointError as
    ``require_judgeable``.
    """
    subject = checkpoint.subject
    require_judgeable(path, subject, judging.source, every=every)
    model = checkpoint.load()

    def answer(work: Work) -> Callable[[Tensor], Tensor]:
        return answering(model, torch.device(work.device), work.compute_dtype)

    found = judging.answers(subject, answer, progress, every=every)
    return found.probabilities() if subject.classes else found


def features(
    judging: Judging, subject: Subject, model: Module, progress: Progress = no_progress
) -> Predictions:
    """What comes into the classifier for every image of ``judging.source``: outputs (N, F), in order of id.

    All images are taken as held-out ones are: resized and cropped, and not augmented. Of a classifier that
    is a convolution, F are the means over the image of its input's channels.
    """
    caught: list[Tensor] = []
    _, classifier = classifier_of(model)
    hook = classifier.register_forward_pre_hook(lambda _, given: caught.append(given[0]))

    def make_answer(work: Work) -> Callable[[Tensor], Tensor]:
        forward = answering(model, torch.device(work.device), work.compute_dtype)

        def answer(images: Tensor) -> Tensor:
            forward(images)
            found = caught.pop()
            return found.mean(dim=(2, 3)) if found.ndim == 4 else found.flatten(1)

        return answer

    try:
        return judging.answers(subject, make_answer, progress, every=True)
    finally:
        hook.remove()


def _told(classes: tuple[str, ...]) -> str:
    if not classes:
        return "numbers, not classes"
    rest = ", ..." if len(classes) > 3 else ""
    return f"{len(classes)} classes ({', '.join(classes[:3])}{rest})"
