"""What is to be trained, and what of it must stay the same for a run that was stopped to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from throughput.contracts import Work, require_count
from throughput.errors import OptionError
from throughput.options import build_options
from throughput.registry import load_loader
from throughput.training.checkpoint import require_place
from throughput.training.errors import CheckpointError
from throughput.training.recipe import Recipe

_OPEN_ENDED = ("constant", "step")
"""Schedules that do not depend on how many epochs there are to be."""
_MAY_DIFFER = ("workers",)
CHECKPOINT_SECONDS = 600.0
"""What is lost at most where a run is killed, unless the user chooses."""


@dataclass(frozen=True)
class Training:
    """What is to be done. Raises OptionError for what cannot be.

    loader, options: a registered loader, and its own options by name. patience: epochs that early stopping
    bears without a lower loss on the watched images; None: train to the end. target_accuracy: stop at the
    epoch that reaches it on the held-out images, 0..1. checkpoint: a file, or a folder for one, written
    after every epoch, and within one every checkpoint_seconds, where the loader tells what it has delivered.
    resume: go on from it, where there is one. weights: a file to begin with.
    """

    work: Work
    model: str
    loader: str
    epochs: int
    recipe: Recipe = field(default_factory=Recipe)
    options: Mapping[str, Any] = field(default_factory=dict)
    patience: int | None = None
    target_accuracy: float | None = None
    checkpoint: Path | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    resume: bool = False
    weights: Path | None = None
    deterministic: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        require_count("--epochs", self.epochs)
        if self.target_accuracy is not None and not 0 < self.target_accuracy <= 1:
            raise OptionError(f"--target-accuracy must lie in 0..1, got {self.target_accuracy!r}")
        if self.resume and self.checkpoint is None:
            raise OptionError("--resume needs --checkpoint: name the file to go on from")
        if not self.checkpoint_seconds >= 0:
            raise OptionError(f"--checkpoint-every must be 0 s or more, got {self.checkpoint_seconds!r}")
        if self.target_accuracy is not None and self.patience is not None:
            raise OptionError(
                "--target-accuracy looks at the held-out images, and --patience leaves them alone until the "
                "end: choose one"
            )
        if self.checkpoint is not None:
            require_place(self.checkpoint)
        if self.target_accuracy is not None and not self.work.source.classes:
            raise OptionError("--target-accuracy needs classes: these labels are numbers")
        if self.recipe.warmup_epochs > self.epochs:
            raise OptionError(
                f"--warmup {self.recipe.warmup_epochs:g} is longer than --epochs {self.epochs}: choose less"
            )
        targets = not self.work.source.classes
        if targets and self.recipe.loss != "squared":
            raise OptionError("these labels are numbers, not classes: give --loss squared")


def course_of(training: Training) -> dict[str, Any]:
    """Plain values, by the name of the option that sets them."""
    work = training.work
    return _plain(
        {
            "loader": training.loader,
            # Defaults included: another version's may differ.
            "options": asdict(build_options(load_loader(training.loader), training.options)),
            # For a note only: the order of a stream depends on how many there are, and nothing else does.
            "workers": work.workers,
            # Each changes in which order numbers are added, if not more.
            "compile": training.compile,
            "deterministic": training.deterministic,
            "device": torch.device(work.device).type,
            "batch": work.batch_size,
            "ranks": work.world_size,
            "seed": work.seed,
            "precision": work.compute_dtype,
            "patience": training.patience,
            "data": work.source.fingerprint,
            "train images": len(work.source.ids("train")),
            "augmentation": asdict(work.augmentation),
            "epochs": None if training.recipe.schedule in _OPEN_ENDED else training.epochs,
        }
        | {f"recipe.{name}": value for name, value in asdict(training.recipe).items()}
    )


def require_course(path: Path, found: object, wanted: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming it, for the first thing that differs."""
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds weights only: begin with them by --weights, without --resume")
    found = {"ranks": 1} | found  # before several could train together, none told
    for name, value in wanted.items():
        if found.get(name) != value and name not in _MAY_DIFFER:
            raise CheckpointError(
                f"{path} was trained with {name} {found.get(name)!r}, not {value!r}: "
                "go on with the same options and data, or start anew with another --checkpoint and without "
                "--resume"
            )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """The same with lists for tuples, as a file gives them back."""
    return {
        name: list(value) if isinstance(value, tuple) else _plain(value) if isinstance(value, dict) else value
        for name, value in values.items()
    }
