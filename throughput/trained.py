"""What training yields: how each epoch went, and how good the model is in the end; without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_IMAGES = 1 << 40
WIDEST_MATRIX = 100
"""Up to so many classes the JSON holds the whole confusion matrix, beyond that the cells that are not 0."""


@dataclass(frozen=True, eq=False)
class Classification:
    """Counts of a split's predictions, and what follows from them.

    loss: cross-entropy, mean over the images, whatever was trained for. classes: C, how many there are.
    cells: (M, 3) int64, the cells of the confusion matrix that are not 0, in order: label, answer, images.
    top5: share of images whose label is among the five likeliest; None where there are no more than five.
    """

    loss: float
    classes: int
    cells: NDArray[np.int64]
    top5: float | None

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(C, C), images, rows by label, columns by answer."""
        matrix = np.zeros((self.classes, self.classes), np.int64)
        matrix[self.cells[:, 0], self.cells[:, 1]] = self.cells[:, 2]
        return matrix

    @property
    def images(self) -> int:
        """How many there were."""
        return int(self.cells[:, 2].sum())

    @property
    def top1(self) -> float:
        """Share of images whose likeliest class is their label."""
        return float(self.right.sum() / self.images)

    @property
    def right(self) -> NDArray[np.int64]:
        """(C,), images of each class that were given it."""
        return self._images_by(0, self.cells[self.cells[:, 0] == self.cells[:, 1]])

    @property
    def support(self) -> NDArray[np.int64]:
        """(C,), images of each class."""
        return self._images_by(0, self.cells)

    @property
    def answered(self) -> NDArray[np.int64]:
        """(C,), images that were given each class."""
        return self._images_by(1, self.cells)

    @property
    def precision(self) -> NDArray[np.float64]:
        """(C,), of the images that were given the class, those that are of it; 0 where none was."""
        return _share(self.right, self.answered)

    @property
    def recall(self) -> NDArray[np.float64]:
        """(C,), of the images of the class, those that were given it; 0 where there is none."""
        return _share(self.right, self.support)

    @property
    def f1(self) -> NDArray[np.float64]:
        """(C,), harmonic mean of precision and recall."""
        return _share(2 * self.right, self.answered + self.support)

    @property
    def macro(self) -> dict[str, float]:
        """Unweighted means of precision, recall and f1 over the classes with an image or an answer."""
        seen = (self.support > 0) | (self.answered > 0)
        return {name: float(getattr(self, name)[seen].mean()) for name in ("precision", "recall", "f1")}

    def to_json(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """For the results; ``classes`` are the C names.

        ``confusion`` holds the matrix, a list for each label; of more than WIDEST_MATRIX classes there is
        ``confusion_cells`` in its place: [label, answer, images] for each cell that is not 0.
        """
        columns = (self.support, self.precision, self.recall, self.f1)
        each = zip(classes, *(column.tolist() for column in columns), strict=True)
        names = ("name", "images", "precision", "recall", "f1")
        told: dict[str, Any] = {
            "images": self.images,
            "loss": self.loss,
            "top1": self.top1,
            "top5": self.top5,
            "macro": self.macro,
            "classes": [dict(zip(names, one, strict=True)) for one in each],
        }
        if self.classes > WIDEST_MATRIX:
            return told | {"confusion_cells": self.cells.tolist()}
        return told | {"confusion": self.confusion.tolist()}

    def _images_by(self, column: int, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """(C,), the cells' images by their label, column 0, or by their answer, column 1."""
        # Doubles, as bincount sums them, are exact up to 2**53.
        counts = np.bincount(cells[:, column], cells[:, 2], minlength=self.classes)
        return counts.astype(np.int64)


@dataclass(frozen=True)
class Regression:
    """Errors of float targets over all images and outputs.

    loss: mean squared error. mae: mean absolute error, in the targets' unit. r2: share of the variance that
    is explained, 1 at best, mean over the outputs; None where a target never varies.
    """

    images: int
    loss: float
    mae: float
    r2: float | None

    def to_json(self, classes: tuple[str, ...]) -> dict[str, Any]:  # noqa: ARG002 - as of classes
        """For the results."""
        return asdict(self)


Metrics = Classification | Regression


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training.

    loss: mean of the training loss, penalties left out. seconds: of training, judging left out.
    learning_rate: at its end. watched_loss: the recipe's loss, without label smoothing and penalties, of the
    images that early stopping looks at, which take no part in training; None where there are none.
    held_out_loss (of classes always cross-entropy) and accuracy (top-1): of the held-out images, None where
    they were left alone until the end.
    """

    epoch: int
    loss: float
    seconds: float
    learning_rate: float
    watched_loss: float | None = None
    held_out_loss: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class TrainingRun:
    """A run of ``throughput train``.

    recipe: of ``throughput.training.recipe``, by name. epochs: those that were trained, of asked_epochs.
    stopped: why there are fewer; None where there are not. judged_epoch: the one whose weights are
    evaluated. parameters: of the model. target_accuracy: what was to be reached; target_seconds: of training,
    judging left out, until the end of the epoch that reached it; None where none did. target_wall_seconds: by
    the clock, from the opening of the loader to the same epoch's end, judging and checkpoints included; None
    also where the run was resumed. checkpoint: the file with the weights.
    """

    model: str
    recipe: dict[str, Any]
    epochs: tuple[EpochRecord, ...]
    asked_epochs: int
    judged_epoch: int
    parameters: int
    stopped: str | None = None
    target_accuracy: float | None = None
    target_seconds: float | None = None
    target_wall_seconds: float | None = None
    checkpoint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The ``training`` of a row."""
        return vars(self) | {"epochs": [asdict(epoch) for epoch in self.epochs]}


@dataclass(frozen=True)
class Evaluation:
    """How good a model, or several together, is on the held-out images.

    subject: which model, in words. classes: their names, () for float targets.
    """

    subject: str
    classes: tuple[str, ...]
    metrics: Metrics

    def to_json(self) -> dict[str, Any]:
        """The ``evaluation`` of a row."""
        return {"subject": self.subject} | self.metrics.to_json(self.classes)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Evaluation:
        """What ``to_json`` gave. Raises KeyError, TypeError, ValueError or OverflowError for all else."""
        subject = told["subject"]
        if not isinstance(subject, str):
            raise TypeError("its subject is no text")
        loss = _figure(told, "loss", math.nan)
        if "classes" not in told:
            images = told["images"]
            if type(images) is not int or not 0 <= images <= _MOST_IMAGES:
                raise TypeError("its images are no count")
            mae, r2 = _figure(told, "mae", math.nan), _figure(told, "r2", None)
            return cls(subject, (), Regression(images, loss, mae, r2))
        classes = tuple(str(one["name"]) for one in told["classes"])
        if "confusion_cells" in told:
            cells = np.array(told["confusion_cells"], np.int64).reshape(-1, 3)
        else:
            matrix = np.array(told["confusion"], np.int64).reshape(len(classes), len(classes))
            label, answer = matrix.nonzero()
            cells = np.stack([label, answer, matrix[label, answer]], axis=1)
        if (cells < 0).any() or (cells[:, :2] >= len(classes)).any() or (cells[:, 2] > _MOST_IMAGES).any():
            raise ValueError("a cell of the confusion matrix is beyond its classes, or counts no images")
        top5 = _figure(told, "top5", None)
        return cls(subject, classes, Classification(loss, len(classes), cells, top5))


def _figure(told: Mapping[str, Any], name: str, absent: Any) -> Any:
    """A number; ``absent`` where it is null, as JSON has it for what was not finite."""
    value = told[name]
    if value is None:
        return absent
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"its {name} is no number")
    return float(value)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
