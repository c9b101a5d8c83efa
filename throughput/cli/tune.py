"""``throughput tune``: search for the settings that make a loader fastest here, within a time budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.cli import INTERRUPTED
from throughput.cli.output import require_writable
from throughput.cli.shared_options import (
    augmentation_options,
    chosen_augmentation,
    compile_option,
    data_options,
    device_option,
    model_size_option,
    opt_option,
    precision_option,
    seed_option,
)
from throughput.errors import OptionError

if TYPE_CHECKING:
    from throughput.tuning.tuned import Tuning


def _counts(_: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """``64`` or ``64,128`` as whole numbers; None for ``auto``."""
    if text is None or text == "auto":
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"{option.opts[0]}: {text!r} is no whole number, nor several with commas between them"
        ) from None


@click.command(name="tune")
@click.option("--loader", required=True, metavar="NAME", help="What to tune.")
@click.option(
    "--data",
    metavar="PATH",
    help="Class folders, tar shards, a pattern of shards, or an array (.npy) with its --labels. "
    "[default: photos made for the purpose]",
)
@click.option(
    "--budget",
    default="60s",
    show_default=True,
    metavar="TIME",
    help="How long the search may take: 60s, 2m, 1h. A longer one measures longer, and looks further around.",
)
@click.option(
    "--phase",
    default="load",
    show_default=True,
    metavar="load|train",
    help="What is to be fast: the loader alone, or loader and model together.",
)
@click.option(
    "--batch",
    callback=_counts,
    metavar="N[,N...]",
    help="Images in a batch; of several, the best is found. [default: 256 on a GPU, 64 on a CPU]",
)
@click.option(
    "--workers",
    callback=_counts,
    default="auto",
    show_default=True,
    metavar="N[,N...]|auto",
    help="Numbers of processes or threads to choose among; auto: from 1 to twice the usable cores.",
)
@model_size_option
@click.option(
    "--model",
    metavar="NAME",
    help="Any name of `throughput list --models`. [default: resnet50 on a GPU, cnn_small on a CPU]",
)
@precision_option
@device_option
@compile_option
@seed_option
@opt_option
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Measure every combination afterwards, and tell how far the choice is from the best of them.",
)
@click.option("--no-certificate", is_flag=True, help="Do not certify the loader as it was chosen.")
@data_options
@augmentation_options
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write what was tried and chosen as JSON.",
)
def command(
    *,
    loader: str,
    data: str | None,
    budget: str,
    phase: str,
    batch: tuple[int, ...] | None,
    workers: tuple[int, ...] | None,
    size: int | None,
    model: str | None,
    precision: str,
    device: str,
    compile_model: bool,
    seed: int,
    assignments: tuple[str, ...],
    exhaustive: bool,
    no_certificate: bool,
    labels: Path | None,
    split_fraction: float | None,
    label_field: str | None,
    allow_pipe: bool,
    crop: str,
    flip: float,
    rotate: float,
    noise: float,
    channels: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    json_path: Path | None,
) -> int:
    """Find the workers, the prefetch and other options that make a loader fastest on this data and machine.

    Many settings are measured for a moment, the better half of them for longer, the last in interleaved
    rounds, each time in a fresh process. What is given by --opt stays as it is. The last line of the output
    is the command to use. Exit status: 0 done, 2 wrong input, 3 nothing measured, 130 interrupted (what is
    known is printed).
    """
    from throughput.api import chosen_loaders
    from throughput.cli.progress import progress_bar
    from throughput.options import parse_assignments
    from throughput.tuning.api import tune

    require_writable(json_path)
    names = chosen_loaders(loader)
    if len(names) != 1:
        raise OptionError(f"--loader: one loader is tuned at a time, got {', '.join(names)}")
    (name,) = names
    known: list[Tuning] = []
    interrupted = False
    try:
        with progress_bar() as progress:
            tune(
                name,
                data,
                budget=budget,
                phase=phase,
                batch_sizes=batch,
                workers=workers,
                image_size=size,
                model=model,
                precision=precision,
                device=device,
                compile=compile_model,
                seed=seed,
                options=parse_assignments(assignments, names)[name],
                exhaustive=exhaustive,
                certified=not no_certificate,
                label_field=label_field,
                allow_pipe=allow_pipe,
                labels=labels,
                split_fraction=split_fraction,
                augmentation=chosen_augmentation(crop=crop, flip=flip, rotate=rotate, noise=noise),
                channels=channels,
                mean=mean,
                std=std,
                progress=progress,
                on_result=known.append,
            )
    except KeyboardInterrupt:
        interrupted = True
    finally:
        # Whatever ends it, what is known is told.
        if known and known[-1].trials:
            _tell(known[-1], json_path)
    if interrupted:
        click.echo("throughput: interrupted", err=True)
        return INTERRUPTED
    return 0


def _tell(tuning: Tuning, json_path: Path | None) -> None:
    import json

    from throughput.cache import whole_file
    from throughput.cli.tuning_tables import print_tuning

    if json_path is not None:
        with whole_file(json_path) as file:
            file.write(json.dumps(tuning.to_json(), indent=2).encode())
    print_tuning(tuning)
    for warning in tuning.warnings:
        click.echo(f"throughput: {tuning.loader}: {warning}", err=True)
