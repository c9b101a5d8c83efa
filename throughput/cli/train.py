"""``throughput train``: from raw images to a judged model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from throughput.child_process import sockets_together
from throughput.cli import INTERRUPTED
from throughput.cli.output import require_writable
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
from throughput.cli.training_options import recipe_of, recipe_options
from throughput.errors import OptionError
from throughput.ranks.place import is_first

if TYPE_CHECKING:
    from throughput.results import Results


@click.command(name="train")
@click.option(
    "--data",
    metavar="PATH",
    help="Class folders, tar shards, a pattern of shards, or an array (.npy). [default: photos made here]",
)
@data_options
@click.option(
    "--model", metavar="NAME", help="Any name of `throughput list --models`. [default: as in bench]"
)
@click.option("--loader", default="torchvision", show_default=True, metavar="NAME", help="What feeds it.")
@opt_option
@click.option(
    "--epochs", type=int, default=10, show_default=True, metavar="N", help="Times through the data."
)
@batch_option
@model_size_option
@augmentation_options
@fault_options
@recipe_options
@click.option(
    "--patience",
    type=int,
    metavar="EPOCHS",
    help="Stop after so many without a lower loss on a tenth of the train split, which is kept out of "
    "training, and take the best epoch's weights. The held-out images are left alone until then.",
)
@click.option(
    "--target-accuracy",
    type=float,
    metavar="SHARE",
    help="Stop at the epoch that reaches it (0..1) on the held-out images, and tell the time to it.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file, or a folder for one, that is written after every epoch and within it.",
)
@click.option(
    "--checkpoint-every",
    metavar="TIME",
    help="How much of an epoch may be lost: 90s, 10m, 2h. [default: 10m]",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from the checkpoint, as if training had never stopped; begin where there is none yet.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Begin with the weights in a checkpoint or a state dict; a classifier of another size is left out.",
)
@workers_option
@precision_option
@device_option
@compile_option
@seed_option
@click.option("--deterministic", is_flag=True, help="Only algorithms that repeat themselves to the bit.")
@json_option
def command(
    *,
    data: str | None,
    labels: Path | None,
    split_fraction: float | None,
    label_field: str | None,
    allow_pipe: bool,
    model: str | None,
    loader: str,
    assignments: tuple[str, ...],
    epochs: int,
    batch: int | None,
    size: int | None,
    crop: str,
    flip: float,
    rotate: float,
    noise: float,
    channels: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    on_error: str,
    max_errors: int,
    patience: int | None,
    target_accuracy: float | None,
    checkpoint: Path | None,
    checkpoint_every: str | None,
    resume: bool,
    weights: Path | None,
    workers: str,
    precision: str,
    device: str,
    compile_model: bool,
    seed: int,
    deterministic: bool,
    json_path: Path | None,
    **optimisation: Any,
) -> int:
    """Train a model on images that any loader feeds, and judge it on those that are held out.

    Started by torchrun, each rank trains on its share, gradients are averaged, and rank 0 writes and tells;
    --batch is that of each rank.

    Exit status: 0 done, 2 wrong input or a loss that is no finite number (the last checkpoint
    is kept), 130 interrupted (--resume goes on from the batch at which it was, where the batch ends
    within a second, after SIGTERM within ten; else from the last checkpoint).
    """
    tells = is_first()
    if tells:
        require_writable(json_path)
    if checkpoint_every is not None and checkpoint is None:
        raise OptionError("--checkpoint-every belongs to --checkpoint: name the file, or leave it out")
    recipe = recipe_of(optimisation)
    augmentation = chosen_augmentation(crop=crop, flip=flip, rotate=rotate, noise=noise)

    from throughput.choices import choose_device, choose_image_size, choose_model, choose_source, choose_work
    from throughput.cli.progress import progress_bar
    from throughput.cli.training_progress import training_progress
    from throughput.options import parse_assignments
    from throughput.quantities import parse_duration
    from throughput.ranks.company import in_company
    from throughput.training.course import CHECKPOINT_SECONDS, Training
    from throughput.training.run import run

    try:
        with sockets_together(), in_company() as company:
            chosen_model = choose_model(model, str(choose_device(device)))
            with progress_bar(shown=tells) as progress, company.first_on_each_machine():
                source = choose_source(
                    data, label_field, allow_pipe, progress, labels=labels, split_fraction=split_fraction
                )
            work = choose_work(
                source,
                batch_size=batch,
                image_size=choose_image_size(size, chosen_model),
                rank=company.rank,
                world_size=company.size,
                workers=workers,
                precision=precision,
                device=device,
                seed=seed,
                augmentation=augmentation,
                channels=channels,
                mean=mean,
                std=std,
                on_error=on_error,  # type: ignore[arg-type] # Work checks it
                max_errors=max_errors,
            )
            training = Training(
                work=work,
                model=chosen_model,
                loader=loader,
                epochs=epochs,
                recipe=recipe,
                options=parse_assignments(assignments, [loader])[loader],
                patience=patience,
                target_accuracy=target_accuracy,
                checkpoint=checkpoint,
                checkpoint_seconds=CHECKPOINT_SECONDS
                if checkpoint_every is None
                else parse_duration("--checkpoint-every", checkpoint_every),
                resume=resume,
                weights=weights,
                deterministic=deterministic,
                compile=compile_model,
            )
            with training_progress(epochs, shown=tells) as listener:
                results = run(training, listener, listener.preparing, company)
    except KeyboardInterrupt as stop:
        if tells:
            click.echo(f"throughput: interrupted{_way_on(checkpoint, stop)}", err=True)
        return INTERRUPTED
    if tells:
        _tell(results, json_path)
    return 0


def _way_on(checkpoint: Path | None, stop: KeyboardInterrupt) -> str:
    if checkpoint is None:
        return "; with --checkpoint it could go on"
    from throughput.training.checkpoint import checkpoint_file
    from throughput.training.keeping import StoppedError

    if isinstance(stop, StoppedError):
        where = f"batch {stop.batches} of epoch {stop.epoch + 1}"
        return f"; the same command with --resume goes on behind {where}"
    if not checkpoint_file(checkpoint).exists():
        return "; nothing was kept yet: the same command begins anew"
    return "; the same command with --resume goes on from the last checkpoint"


def _tell(results: Results, json_path: Path | None) -> None:
    """The JSON if asked for, and the tables on stdout."""
    from throughput.cache import whole_file
    from throughput.registry import load_report

    if json_path is not None:
        with whole_file(json_path) as file:
            file.write(load_report("json").render([results]).encode())
    click.echo(load_report("table").render([results]))
    sys.stdout.flush()
