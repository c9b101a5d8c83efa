"""``throughput bench``: measure loaders and print one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.cli import INTERRUPTED
from throughput.cli.output import require_writable, tell
from throughput.cli.shared_options import (
    augmentation_options,
    batch_option,
    chosen_augmentation,
    compile_option,
    data_options,
    device_option,
    fault_options,
    json_option,
    model_size_option,
    opt_option,
    precision_option,
    seed_option,
    workers_option,
)
from throughput.errors import NothingMeasuredError, OptionError

if TYPE_CHECKING:
    from throughput.results import Results

FAULT_FOUND = 1


@click.command(name="bench")
@click.option(
    "--loader", default="all", show_default=True, metavar="NAME[,NAME...]|all", help="What to measure."
)
@click.option(
    "--data",
    metavar="PATH",
    help="Class folders, tar shards, a pattern of shards, or an array (.npy) with its --labels. "
    "[default: photos made for the purpose]",
)
@batch_option
@model_size_option
@workers_option
@click.option(
    "--model",
    metavar="NAME",
    help="Any name of `throughput list --models`. [default: resnet50 on a GPU, cnn_small on a CPU]",
)
@click.option(
    "--phases",
    default="load,model,train",
    show_default=True,
    metavar="NAME[,NAME...]",
    help="The loader alone, the model alone, both together.",
)
@click.option(
    "--seconds", type=float, default=3.0, show_default=True, metavar="S", help="Length of a measured pass."
)
@click.option("--steps", type=int, metavar="N", help="Batches in a pass, in place of --seconds.")
@click.option("--repeats", type=int, default=3, show_default=True, metavar="N", help="Passes of each phase.")
@precision_option
@device_option
@compile_option
@seed_option
@opt_option
@click.option(
    "--cache",
    default="any",
    show_default=True,
    metavar="any|cold|warm",
    help="State of the page cache before each pass: as it is, evicted, or filled; proved, or the row fails.",
)
@click.option("--no-certificate", is_flag=True, help="Do not certify the loaders; their rows say so.")
@click.option("--recertify", is_flag=True, help="Certify anew what an earlier run has certified.")
@click.option(
    "--strict",
    is_flag=True,
    help="Exit with 1 unless every loader is certified, counted right and measured; of `all`, those that can "
    "run here.",
)
@click.option(
    "--check-prediction", is_flag=True, help="Apply the first suggestion, and measure what it gives."
)
@click.option(
    "--project-images",
    type=int,
    default=1_281_167,
    show_default=True,
    metavar="N",
    help="Tell how long an epoch of so many images takes.",
)
@data_options
@augmentation_options
@fault_options
@json_option
def command(
    loader: str,
    data: str | None,
    batch: int | None,
    size: int | None,
    workers: str,
    model: str | None,
    phases: str,
    seconds: float,
    steps: int | None,
    repeats: int,
    precision: str,
    device: str,
    compile_model: bool,
    seed: int,
    assignments: tuple[str, ...],
    cache: str,
    no_certificate: bool,
    recertify: bool,
    strict: bool,
    check_prediction: bool,
    project_images: int,
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
    on_error: str,
    max_errors: int,
    json_path: Path | None,
) -> int:
    """Measure loaders: alone, the model alone, and both together; then the accuracy on held-out images.

    Each loader is certified to do the same work; then all run in interleaved rounds, in fresh processes.
    Started by torchrun, each rank measures its share, gradients are averaged, and rank 0 tells of all.
    Exit status: 0 done, 1 a fault found with --strict, 2 wrong input, 3 nothing measured, 130 interrupted
    (what was measured is printed).
    """
    from throughput.api import bench, chosen_loaders
    from throughput.cli.progress import progress_bar
    from throughput.options import parse_assignments
    from throughput.ranks.company import in_company
    from throughput.ranks.place import is_first

    tells = is_first()
    if tells:
        require_writable(json_path)
    if strict and no_certificate:
        raise OptionError("--strict asks for certificates, and --no-certificate leaves them out: choose one")
    names = chosen_loaders(loader)
    augmentation = chosen_augmentation(crop=crop, flip=flip, rotate=rotate, noise=noise)
    finished: list[Results] = []
    interrupted = False
    try:
        with in_company() as company, progress_bar(shown=tells) as progress:
            bench(
                names,
                data,
                batch_size=batch,
                image_size=size,
                workers=workers,
                model=model,
                phases=[phase.strip() for phase in phases.split(",") if phase.strip()],
                seconds=seconds,
                steps=steps,
                repeats=repeats,
                precision=precision,
                device=device,
                compile=compile_model,
                seed=seed,
                options=parse_assignments(assignments, names),
                cache=cache,  # type: ignore[arg-type] # Plan checks it
                certified=not no_certificate,
                recertify=recertify,
                check_prediction=check_prediction,
                project_images=project_images,
                label_field=label_field,
                allow_pipe=allow_pipe,
                labels=labels,
                split_fraction=split_fraction,
                augmentation=augmentation,
                channels=channels,
                mean=mean,
                std=std,
                on_error=on_error,  # type: ignore[arg-type] # Work checks it
                max_errors=max_errors,
                progress=progress,
                on_results=finished.append,
                company=company,
            )
    except KeyboardInterrupt:
        interrupted = True
    finally:
        # Whatever goes wrong after an hour, what was measured in it is told.
        if finished and tells:
            tell(finished[-1], json_path)
    if interrupted:
        if tells:
            click.echo("throughput: interrupted", err=True)
        return INTERRUPTED
    return _exit_status(finished[-1], strict, named=loader != "all")


def _exit_status(results: Results, strict: bool, *, named: bool) -> int:
    """0 where anything was measured, 1 if --strict finds fault with it; else 2 for wrong input, or 3.

    named: the user named the loaders, so one that was skipped is missed.
    """
    from throughput.measure.judge import is_proved

    if any(row.status == "ok" for row in results.rows):
        faulty = any((named or row.status != "skipped") and not is_proved(row) for row in results.rows)
        return FAULT_FOUND if strict and faulty else 0
    failed = [row for row in results.rows if row.status == "failed"]
    if failed and all(row.bad_input for row in failed):
        return OptionError.exit_code
    return NothingMeasuredError.exit_code
