"""From what a user chose to the work that every loader must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from throughput.contracts import (
    IMAGE_SIZE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augmentation,
    OnError,
    Progress,
    Source,
    Work,
    no_progress,
    require_count,
)
from throughput.errors import OptionError
from throughput.measure.environment import usable_cores
from throughput.ranks.place import place
from throughput.registry import load_model_family_for
from throughput.sources import open_source
from throughput.sources.synthetic import default_source_folder

if TYPE_CHECKING:
    import torch

Data = str | Path | Sequence[str | Path] | Source | None
"""What to read: as for ``open_source``; None: photo-like images, made once into the cache folder."""

CPU_BATCH_SIZE, GPU_BATCH_SIZE = 64, 256
CPU_MODEL, GPU_MODEL = "cnn_small", "resnet50"


def choose_source(
    data: Data,
    label_field: str | None = None,
    allow_pipe: bool = False,
    progress: Progress = no_progress,
    *,
    labels: str | Path | None = None,
    split_fraction: float | None = None,
) -> Source:
    """Open ``data`` like ``open_source``. Raises SourceError; OptionError for what does not go with it."""
    if isinstance(data, Source):
        if labels is not None or split_fraction is not None:
            raise OptionError(f"{data.location} is open already: leave labels and split_fraction out")
        return data
    if data is None:
        data = default_source_folder(progress)
    return open_source(
        data,
        label_field=label_field,
        allow_pipe=allow_pipe,
        labels=labels,
        split_fraction=split_fraction,
        progress=progress,
    )


def choose_work(
    source: Source,
    *,
    batch_size: int | None = None,
    image_size: int = IMAGE_SIZE,
    workers: int | str = "auto",
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    augmentation: Augmentation | None = None,
    channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    on_error: OnError = "raise",
    max_errors: int = 100,
) -> Work:
    """The train work over ``source``; None and ``auto`` take what suits this machine.

    channels: the source's by default. mean, std: one number a channel, in 0..1; ImageNet's by default, in
    grey the means of its channels'. Raises OptionError.
    """
    from throughput.training.precision import choose_dtype

    chosen_channels = source.channels if channels is None else channels
    chosen_device = choose_device(device)
    if batch_size is None:
        # A small source is no mistake where no batch size was asked for.
        preferred = GPU_BATCH_SIZE if chosen_device.type == "cuda" else CPU_BATCH_SIZE
        batch_size = min(preferred, max(1, len(source.ids("train")) // max(1, world_size)))
    work = Work(
        source=source,
        image_size=image_size,
        channels=chosen_channels,
        batch_size=batch_size,
        augmentation=augmentation or Augmentation(),
        mean=choose_scale(mean, IMAGENET_MEAN, chosen_channels),
        std=choose_scale(std, IMAGENET_STD, chosen_channels),
        compute_dtype=choose_dtype(precision, chosen_device),
        workers=choose_workers(workers),
        device=str(chosen_device),
        seed=seed,
        rank=rank,
        world_size=world_size,
        on_error=on_error,
        max_errors=max_errors,
    )
    samples = len(source.ids("train")) // world_size
    if work.batch_size > samples:
        share = "" if world_size == 1 else f" for each of {world_size} ranks"
        raise OptionError(
            f"--batch {work.batch_size} is larger than the train split of {source.location}, which has "
            f"{samples} images{share}: choose --batch {samples} or less"
        )
    return work


def choose_scale(
    chosen: Sequence[float] | None, usual: tuple[float, ...], channels: int
) -> tuple[float, ...]:
    """One number a channel: what was chosen (one stands for all), else the usual; in grey, its mean."""
    if chosen is None:
        return usual if channels == len(usual) else (round(sum(usual) / len(usual), 6),) * channels
    return tuple(chosen) * channels if len(chosen) == 1 else tuple(chosen)


def choose_device(device: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` as torch sees it. Raises OptionError.

    Of several ranks, each takes the GPU of its number on the machine, unless one is named.
    """
    import torch

    available = torch.cuda.is_available()
    here = place()
    if device == "auto" and not available:
        return torch.device("cpu")
    if device == "auto" or (device == "cuda" and available and here is not None):
        own = 0 if here is None else here.local_rank
        if own >= torch.cuda.device_count():
            raise OptionError(
                f"there are {torch.cuda.device_count()} CUDA devices for more ranks on this machine: "
                "start as many with torchrun's --nproc-per-node, or choose --device cpu"
            )
        return torch.device("cuda", own)
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        return torch.device("cpu")
    if kind != "cuda" or (index and not index.isdigit()):
        raise OptionError(f"--device must be auto, cpu, cuda or cuda:N, got {device!r}")
    if not available:
        raise OptionError(
            f"--device {device}: torch finds no CUDA device here; "
            "choose --device cpu, or let `throughput doctor` look"
        )
    if int(index or 0) >= torch.cuda.device_count():
        raise OptionError(
            f"--device {device}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0 on"
        )
    return torch.device("cuda", int(index or 0))


def choose_model(model: str | None, device: str) -> str:
    """The model's name, or the default for the device. Raises UnknownNameError with the nearest name."""
    name = model or (GPU_MODEL if device.startswith("cuda") else CPU_MODEL)
    load_model_family_for(name)
    return name


def choose_image_size(image_size: int | None, model: str) -> int:
    """What was chosen; None: what the model is made for. Raises UnknownNameError."""
    return load_model_family_for(model).image_size(model) if image_size is None else image_size


def require_counts(*, batch_size: int | None, image_size: int, workers: int | str) -> None:
    """Raise OptionError for a number that no source could make right."""
    if batch_size is not None:
        require_count("batch_size (--batch)", batch_size)
    require_count("image_size (--size)", image_size)
    require_count("workers (--workers)", choose_workers(workers))


def choose_workers(workers: int | str) -> int:
    """A number of workers; ``auto``: the usable cores. Raises OptionError."""
    if workers == "auto":
        return usable_cores()
    try:
        return int(workers)
    except ValueError:
        raise OptionError(f"--workers must be auto or a whole number of 1 or more, got {workers!r}") from None
