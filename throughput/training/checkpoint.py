"""A training run in a file: written under a temporary name and renamed, read without unpickling code."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.nn import Module

from throughput.cache import whole_file
from throughput.contracts import CROPS, Source, Work
from throughput.errors import OptionError, ThroughputError, first_line
from throughput.registry import is_pointed_at, load_model_family_for
from throughput.training.classifier import classifier_of
from throughput.training.errors import CheckpointError
from throughput.training.weights_file import read_file

FORMAT = 2
"""Since 2, a run may have been kept in the middle of an epoch; 1 is read as well."""
MOST_OUTPUTS, MOST_PIXELS_A_SIDE = 1_000_000, 16_384
"""Of a subject: what a file says decides how much memory its model takes."""
_LARGEST_SCALE = 1e6
_WORDS = {"source": "data", "train_digest": "train images"}
"""For the fields of a subject that only a digest tells."""
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Prefixes of the classifiers that torchvision's Inception and GoogLeNet have for training only."""
FILE_NAME = "checkpoint.pt"
"""In a folder that was named in place of a file."""


@dataclass(frozen=True)
class Subject:
    """What weights belong to, and how the images that they know were made.

    outputs: of the model: classes, or numbers in a float target. classes: () for float targets.
    mean and std: in 0..1 units, one for each channel. crop: as in Augmentation; with ``none`` held-out images
    are resized as a whole, with others cropped to their centre. image_size: side in pixels.
    source: fingerprint of what the weights were trained on. train_digest: of which of its images were trained
    on; both "" where that is not known.
    """

    model: str
    classes: tuple[str, ...]
    outputs: int
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: str
    source: str = ""
    train_digest: str = ""

    @classmethod
    def of(cls, model: str, work: Work) -> Subject:
        """What is trained on a work."""
        return cls(
            model=model,
            classes=work.source.classes,
            outputs=outputs_for(work.source),
            channels=work.channels,
            image_size=work.image_size,
            mean=work.mean,
            std=work.std,
            crop=work.augmentation.crop,
            source=work.source.fingerprint,
            train_digest=train_digest(work.source),
        )

    def build(self) -> Module:
        """The model, untrained. Raises a ThroughputError where there is none by that name, or it is none."""
        family = load_model_family_for(self.model)
        try:
            made: Any = family.build(self.model, self.outputs, self.channels)
        except Exception as error:  # a model's code may fail in any way
            raise OptionError(
                f"the model {self.model!r} cannot be built for {self.outputs} outputs and {self.channels} "
                f"channels: {type(error).__name__}: {first_line(error)}"
            ) from error
        if not isinstance(made, Module):
            raise OptionError(f"the model {self.model!r} builds no torch Module, but {_short(made)}")
        return made


@dataclass(frozen=True)
class Checkpoint:
    """weights: those that are judged, a state dict of the model.

    run: what it takes to go on; of a pruned model, the ``augmentation`` that it learnt with; {}: nothing.
    """

    subject: Subject
    weights: Mapping[str, Tensor]
    run: dict[str, Any]

    def load(self) -> Module:
        """The trained model, in evaluation mode.

        Raises CheckpointError where it cannot be built, or the weights do not fit it.
        """
        try:
            model = self.subject.build()
        except ThroughputError as error:
            raise CheckpointError(f"these weights cannot be used here: {error}") from error
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"these are not weights of {self.subject.model}: {first_line(error)}"
            ) from error
        return model.eval()


def train_digest(source: Source) -> str:
    """Hex digest of the ids of the train split."""
    return hashlib.sha256(source.ids("train").astype("<i8").tobytes()).hexdigest()[:16]


def outputs_for(source: Source) -> int:
    """How many numbers a model gives for an image of this source."""
    if source.classes:
        return len(source.classes)
    return 1 if source.labels.ndim == 1 else int(source.labels.shape[1])


def checkpoint_file(path: Path) -> Path:
    """The file that ``path`` means: itself, or one in the folder that it names."""
    return path / FILE_NAME if path.is_dir() else path


def require_place(path: Path) -> None:
    """Raise OptionError, before hours of training, where a checkpoint could not be written."""
    file = checkpoint_file(path)
    folder = file.absolute().parent
    if not folder.is_dir():
        raise OptionError(f"--checkpoint {path}: there is no folder {folder}; make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(f"--checkpoint {path}: cannot write in {folder}: {error.strerror}") from error


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write it whole, or leave what was there. Raises RoomError."""
    content = {
        "format": FORMAT,
        "subject": asdict(checkpoint.subject),
        "weights": dict(checkpoint.weights),
        "run": checkpoint.run,
    }
    with whole_file(path) as file:
        torch.save(content, file)


def read(path: Path, models: Collection[str] = ()) -> Checkpoint:
    """A checkpoint that ``save`` wrote, of one of ``models``; (): of any that is registered.

    Code that its name would import and call is not for a file to choose: such a model must be among
    ``models``. Raises CheckpointError, naming the file.
    """
    content = read_file(checkpoint_file(path))
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path} is no checkpoint of `throughput train`: give one, or --weights {path}")
    if content["format"] not in (1, FORMAT):
        raise CheckpointError(
            f"{path} is a checkpoint of format {_short(content['format'])}, and this version reads 1 and "
            f"{FORMAT}: "
            "use the version that wrote it, or a newer one"
        )
    subject = subject_from(path, content.get("subject"))
    require_chosen(path, subject.model, models)
    weights, run = content.get("weights"), content.get("run")
    if not _are_weights(weights):
        raise CheckpointError(f"{path} is damaged: it holds no weights")
    if not isinstance(run, dict):
        raise CheckpointError(f"{path} is damaged: it does not say how its training went")
    return Checkpoint(subject, weights, run)


def subject_from(path: Path, given: object) -> Subject:
    """The subject that the plain values in a file tell of. Raises CheckpointError where they tell of none."""
    try:
        values: dict[str, Any] = dict(given)  # type: ignore[call-overload] # a TypeError is what is waited for
        lists = {name: tuple(values[name]) for name in ("classes", "mean", "std")}
        found = Subject(**(values | lists))
        names = (found.model, found.crop, found.source, found.train_digest, *found.classes)
        counts = (found.outputs, found.channels, found.image_size)
        scale = (*found.mean, *found.std)
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} does not say what its weights belong to: {_short(error)}") from error
    if not (
        all(isinstance(name, str) for name in names)
        and all(
            type(count) is int and 0 < count <= most
            for count, most in zip(counts, (MOST_OUTPUTS, 3, MOST_PIXELS_A_SIDE), strict=True)
        )
        and all(isinstance(value, (float, int)) and abs(value) < _LARGEST_SCALE for value in scale)
        and all(value > 0 for value in found.std)
        and len(found.mean) == len(found.std) == found.channels
        and len(found.classes) in (0, found.outputs)
        and found.crop in CROPS
    ):
        raise CheckpointError(f"{path} does not say what its weights belong to: {_short(found)}")
    return found


def require_chosen(path: Path, found: str, models: Collection[str]) -> None:
    """Raise CheckpointError where a file would choose what code is run, or holds another model."""
    if found in models:
        return
    if is_pointed_at(found):
        raise CheckpointError(
            f"{path} holds weights of {found}, code that would be imported and called, and a file may not "
            f"choose that: if you trust it, give --model {found}"
        )
    if models:
        raise CheckpointError(f"{path} holds {found}, not {' or '.join(models)}: choose --model {found}")


def _are_weights(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(part, Tensor) for name, part in value.items()
    )


def require_unseen(path: Path, subject: Subject, source: Source) -> None:
    """Raise CheckpointError where the model was trained on other images of this source than its train split.

    Among the held-out images are then such as it was trained on.
    """
    if subject.source == source.fingerprint and subject.train_digest not in ("", train_digest(source)):
        raise CheckpointError(
            f"{path} was trained with another split of {source.location}, and may know images that are held "
            "out here: give the --split-fraction of its training"
        )


def require_same(path: Path, found: Subject, wanted: Subject) -> None:
    """Raise CheckpointError, in words, where a checkpoint is of other work than what is to go on."""
    if found.model != wanted.model:
        raise CheckpointError(f"{path} holds {found.model}, not {wanted.model}: choose --model {found.model}")
    if found.outputs != wanted.outputs:
        raise CheckpointError(
            f"{path} knows {found.outputs} classes, and this data has {wanted.outputs}: "
            "give the data that it was trained on"
        )
    for field in fields(Subject):
        one, other = getattr(found, field.name), getattr(wanted, field.name)
        if one != other:
            name = _WORDS.get(field.name, field.name)
            raise CheckpointError(
                f"{path} was trained with {name} {_short(one)}, not {_short(other)}: "
                "go on with the same options and data, or start anew with another --checkpoint and without "
                "--resume"
            )


def load_weights(model: Module, path: Path) -> tuple[str, ...]:
    """Begin with the weights in a file: of a checkpoint, or a bare state dict, as torchvision's are.

    The classifier is left as it is where the file's is of another size. The file's auxiliary classifiers,
    which the models here do without, are left out. Returns the names of what was left as it is. Raises
    CheckpointError where anything else does not fit.
    """
    content = read_file(checkpoint_file(path))
    weights = content.get("weights", content) if isinstance(content, dict) else content
    if not _are_weights(weights):
        raise CheckpointError(f"{path} holds no weights: a checkpoint or a state dict is wanted")
    classifier, _ = classifier_of(model)
    own = model.state_dict()
    left = tuple(
        name
        for name in own
        if name.rpartition(".")[0] == classifier
        and (name not in weights or weights[name].shape != own[name].shape)
    )
    missing = [name for name in own if name not in weights and name not in left]
    kept = [name for name in own if name in weights and name not in left]
    other = [name for name in kept if weights[name].shape != own[name].shape]
    unknown = [name for name in weights if name not in own and not str(name).startswith(_AUXILIARY)]
    if missing or other or unknown:
        raise CheckpointError(
            f"{path} holds weights of another model: " + _told(missing=missing, other=other, unknown=unknown)
        )
    model.load_state_dict({name: weights[name] for name in kept}, strict=False)
    return left


def untrained(path: Path, left: Collection[str]) -> str:
    """In words, what ``load_weights`` left as it is."""
    return f"{path} does not fit the last layer ({', '.join(left)}), which begins untrained"


def _told(*, missing: list[str], other: list[str], unknown: list[str]) -> str:
    told = []
    if missing:
        told.append(f"it lacks {_some(missing)}")
    if other:
        told.append(f"{_some(other)} have another size")
    if unknown:
        told.append(f"it has {_some(unknown)} too many")
    return "; ".join(told)


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + rest


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
