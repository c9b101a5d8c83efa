"""``throughput features``: what a model makes of every image, before it tells the classes apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from throughput.cli.judging_options import judging_of, judging_options
from throughput.cli.shared_options import channels_option, mean_option, model_size_option, std_option
from throughput.errors import OptionError

_OF_IMAGES = ("size", "crop", "channels", "mean", "std")


@click.command(name="features")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.npy")
@click.option("--checkpoint", type=click.Path(path_type=Path), metavar="PATH", help="Of `throughput train`.")
@click.option(
    "--model",
    metavar="NAME",
    help="Without a checkpoint: any name of `throughput list --models`. With one: its own, needed only where "
    "that is package.module:callable, since no file may choose what code is run.",
)
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", help="A state dict for that model."
)
@model_size_option
@click.option(
    "--crop",
    default="centre",
    show_default=True,
    metavar="centre|none",
    help="The middle of the image, 7/8 of its shorter side, or the whole of it.",
)
@channels_option
@mean_option
@std_option
@judging_options
def command(
    *,
    out: Path,
    checkpoint: Path | None,
    model: str | None,
    weights: Path | None,
    size: int | None,
    crop: str,
    channels: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    **chosen: Any,
) -> None:
    """Write the input of the model's last layer as OUT.npy: (N, F) float32, a row for each image by its id.

    All images come as held-out ones do, without augmentation. A checkpoint knows how large they are, how they
    are cropped and scaled: --size and the like belong to --model alone.
    """
    if checkpoint is None and model is None:
        raise OptionError("give either --checkpoint, of a trained model, or --model, of an untrained one")
    if checkpoint is not None:
        given = [name for name in ("weights", *_OF_IMAGES) if _is_given(name)]
        if given:
            raise OptionError(f"--{given[0]} belongs to --model alone: a checkpoint has its own")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"{out}: there is no folder {out.absolute().parent}; make it first")

    import numpy as np
    import torch

    from throughput.cache import whole_file
    from throughput.choices import choose_image_size, choose_scale
    from throughput.cli.progress import progress_bar
    from throughput.contracts import IMAGENET_MEAN, IMAGENET_STD
    from throughput.training.checkpoint import Subject, load_weights, outputs_for, read, untrained
    from throughput.training.judging import features

    with progress_bar() as progress:
        found = None if checkpoint is None else read(checkpoint, () if model is None else (model,))
        judging = judging_of(progress, **chosen)
        if found is not None:
            subject, network = found.subject, found.load()
        else:
            assert model is not None
            chosen_channels = judging.source.channels if channels is None else channels
            subject = Subject(
                model,
                classes=judging.source.classes,
                outputs=outputs_for(judging.source),
                channels=chosen_channels,
                image_size=choose_image_size(size, model),
                mean=choose_scale(mean, IMAGENET_MEAN, chosen_channels),
                std=choose_scale(std, IMAGENET_STD, chosen_channels),
                crop=crop,
            )
            judging.work(subject, every=True)  # what cannot be is refused before a model is built
            torch.manual_seed(0)
            network = subject.build()
            if weights is not None and (left := load_weights(network, weights)):
                click.echo(f"throughput: {untrained(weights, left)}", err=True)
        made = features(judging, subject, network, progress)
    with whole_file(out) as file:
        np.save(file, made.outputs.numpy().astype(np.float32, copy=False))
    count, width = made.outputs.shape
    click.echo(f"{out}: {count:,} images, {width:,} features each")


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) not in (ParameterSource.DEFAULT, None)
