"""Which model is shown which images, and how they come: options of what is done with trained models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from throughput.cli.shared_options import (
    batch_option,
    data_options,
    device_option,
    opt_option,
    precision_option,
)

if TYPE_CHECKING:
    from throughput.contracts import Progress
    from throughput.training.judging import Judging

Function = TypeVar("Function", bound=Callable[..., Any])

models_option = click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="The checkpoint's own, needed only where that is package.module:callable, since no file may choose "
    "what code is run; may be repeated.",
)
_OPTIONS = (
    click.option(
        "--data",
        metavar="PATH",
        help="Class folders, tar shards, a pattern of shards, or an .npy array. [default: photos made here]",
    ),
    data_options,
    click.option("--loader", default="torchvision", show_default=True, metavar="NAME", help="What feeds it."),
    opt_option,
    batch_option,
    click.option("--workers", default="auto", show_default=True, metavar="N|auto", help="That load."),
)


def images_options(command: Function) -> Function:
    """The command with those that tell of images; ``judging_of`` takes them by name."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def judging_options(command: Function) -> Function:
    """With those that tell what computes, too."""
    return images_options(precision_option(device_option(command)))


def judging_of(
    progress: Progress,
    *,
    data: str | None,
    labels: Path | None,
    split_fraction: float | None,
    label_field: str | None,
    allow_pipe: bool,
    loader: str,
    assignments: tuple[str, ...],
    batch: int | None,
    workers: str,
    precision: str = "auto",
    device: str = "auto",
) -> Judging:
    """What was chosen. Raises a ThroughputError."""
    from throughput.choices import choose_source
    from throughput.options import parse_assignments
    from throughput.training.judging import Judging

    source = choose_source(
        data, label_field, allow_pipe, progress, labels=labels, split_fraction=split_fraction
    )
    options = parse_assignments(assignments, [loader])[loader]
    return Judging(source, loader, options, batch, workers, precision, device)
