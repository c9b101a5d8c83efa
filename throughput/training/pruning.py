"""Smaller models: weights that matter least become zero (``torch.nn.utils.prune``), the others learn on."""

from __future__ import annotations

import statistics
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import Module
from torch.nn.utils import parametrize, prune

from throughput.contracts import Augmentation, Progress, Work, no_progress
from throughput.errors import OptionError
from throughput.trained import Classification
from throughput.training.checkpoint import Checkpoint
from throughput.training.classifier import classifier_of
from throughput.training.course import Training
from throughput.training.errors import CheckpointError
from throughput.training.judging import Judging, predictions_of, require_judgeable
from throughput.training.listening import Listener
from throughput.training.metrics import judge
from throughput.training.predictions import answering
from throughput.training.recipe import Recipe
from throughput.training.trainer import train

Method = Literal["magnitude", "channels"]
METHODS: tuple[Method, ...] = ("magnitude", "channels")
_TIMED_PASSES = 7
_TIMED_BATCH = 64


@dataclass(frozen=True)
class Stage:
    """A model before, while or after it was pruned.

    parameters, nonzero: of the model, and those that are not 0. bytes: of the parameters as they are stored;
    compressed_bytes: the same by zlib, which sees the zeros. images_per_second: the model alone, batches of
    64 at hand, the median of several. accuracy: top-1 on the held-out images, None where labels are numbers.
    loss: on the same.
    """

    name: str
    accuracy: float | None
    loss: float
    parameters: int
    nonzero: int
    bytes: int
    compressed_bytes: int
    images_per_second: float


class Masked(Module):
    """Parametrizes a weight: where ``mask`` is 0, so is the weight, whoever reads it.

    torch's pruning puts its masks on when a layer is called; attention reads the weights of its layers and
    calls none.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with its zeros."""
        return weight * self.mask


def prune_model(model: Module, sparsity: float, method: Method) -> None:
    """Mask the share ``sparsity`` of the weights of convolutions and dense layers, so that training keeps it.

    magnitude: the smallest ones, over all layers together. channels: whole outputs of each layer but the
    classifier, those with the smallest L2 norm; one at least stays. Raises OptionError.
    """
    if not 0 < sparsity < 1:
        raise OptionError(f"--sparsity must lie between 0 and 1, got {sparsity!r}")
    if method not in METHODS:
        raise OptionError(f"--method must be one of {', '.join(METHODS)}, got {method!r}")
    # torch types part of its pruning not.
    if method == "magnitude":
        layers = [(layer, "weight") for layer in _layers(model)]
        prune.global_unstructured(layers, prune.L1Unstructured, amount=sparsity)
    else:
        _, classifier = classifier_of(model)
        for layer in _layers(model):
            if layer is not classifier:
                channels = len(layer.weight)
                silent = min(round(sparsity * channels), channels - 1)
                prune.ln_structured(layer, "weight", silent, n=2, dim=0)  # type: ignore[no-untyped-call]
    for layer in _layers(model):
        if prune.is_pruned(layer):
            mask: Tensor = layer.weight_mask  # type: ignore[assignment] # a module has any attribute
            prune.remove(layer, "weight")  # type: ignore[no-untyped-call] # as above
            parametrize.register_parametrization(layer, "weight", Masked(mask))


def make_permanent(model: Module) -> Module:
    """The same model with its zeros in its weights, and no masks beside them."""
    for layer in _layers(model):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
    return model


def compare(
    judging: Judging,
    path: Path,
    checkpoint: Checkpoint,
    sparsity: float,
    method: Method,
    *,
    recipe: Recipe,
    epochs: int,
    seed: int = 0,
    listener: Listener | None = None,
    progress: Progress = no_progress,
) -> tuple[Checkpoint, list[Stage]]:
    """Prune the model of a checkpoint and let it learn on, with the augmentation that it was trained with.

    Returns it without masks, and what it was before, after pruning, and in the end.
    """
    if recipe.averaging is not None:
        raise OptionError("--ema averages no masked weights: leave it out")
    # Before it learns on, not after.
    require_judgeable(path, checkpoint.subject, judging.source)
    cut = checkpoint.load()
    prune_model(cut, sparsity, method)
    subject = checkpoint.subject
    cut_only = Checkpoint(subject, make_permanent(cut).state_dict(), {})
    work = judging.training_work(subject, _augmentation(path, checkpoint), seed)

    def make() -> Module:
        model = checkpoint.load()
        prune_model(model, sparsity, method)
        return model

    training = Training(work, subject.model, judging.loader, epochs, recipe, judging.options)
    trained = train(training, listener, progress, make)
    learnt = make_permanent(trained.model.cpu()).state_dict()
    tuned = Checkpoint(subject, learnt, {"augmentation": asdict(work.augmentation)})
    models = {
        "as it was": checkpoint,
        f"{100 * sparsity:g} % pruned": cut_only,
        f"{epochs} epoch{'s' if epochs > 1 else ''} later": tuned,
    }
    rates = _images_per_second([one.load() for one in models.values()], work)
    stages = [
        _stage(name, judging, path, one, rate, progress)
        for (name, one), rate in zip(models.items(), rates, strict=True)
    ]
    return tuned, stages


def _augmentation(path: Path, checkpoint: Checkpoint) -> Augmentation:
    """That of the training, or pruning, that wrote the checkpoint; without one, the usual with its crop."""
    if not checkpoint.run:
        return Augmentation(crop=checkpoint.subject.crop)  # type: ignore[arg-type] # it checks the name
    try:
        given = checkpoint.run.get("course", checkpoint.run)["augmentation"]
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        return Augmentation(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: it does not tell its augmentation ({error})") from error


def _stage(
    name: str, judging: Judging, path: Path, checkpoint: Checkpoint, rate: float, progress: Progress
) -> Stage:
    """Judge the model of a checkpoint, and weigh it."""
    found = predictions_of(judging, path, checkpoint, progress)
    metrics = judge(found, probabilities=bool(checkpoint.subject.classes))
    accuracy = metrics.top1 if isinstance(metrics, Classification) else None
    model = checkpoint.load()
    parameters = [parameter.detach().contiguous() for parameter in model.parameters()]
    raw = b"".join(parameter.numpy().tobytes() for parameter in parameters)
    return Stage(
        name,
        accuracy,
        metrics.loss,
        parameters=sum(parameter.numel() for parameter in parameters),
        nonzero=sum(int(parameter.count_nonzero()) for parameter in parameters),
        bytes=len(raw),
        compressed_bytes=len(zlib.compress(raw)),
        images_per_second=rate,
    )


def _images_per_second(
    models: Sequence[Module], work: Work, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Of each model alone, the median of several passes, which alternate: what disturbs one disturbs all."""
    device = torch.device(work.device)
    answers = [answering(model, device, work.compute_dtype) for model in models]
    shape = (_TIMED_BATCH, work.channels, work.image_size, work.image_size)
    images = torch.zeros(shape, dtype=getattr(torch, work.compute_dtype), device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(_TIMED_PASSES + 1):  # the first one tunes the convolutions
        for answer, taken in zip(answers, seconds, strict=True):
            begin = clock()
            answer(images).sum().item()  # waits for the device
            taken.append(clock() - begin)
    return [_TIMED_BATCH / statistics.median(taken[1:]) for taken in seconds]


def _layers(model: Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
