"""``throughput features``: what a model makes of every image, before it tells the classes apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from throughput.cli.judging_options import judging_of, judging_options
from throughput.cli.shared_options import size_option
from throughput.errors import OptionError


@click.command(name="features")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.npy")
@click.option("--checkpoint", type=click.Path(path_type=Path), metavar="PATH", help="Of `throughput train`.")
@click.option("--model", metavar="NAME", help="Without a checkpoint: any name of `throughput list --models`.")
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", help="A state dict for that model."
)
@size_option
@judging_options
def command(
    *,
    out: Path,
    checkpoint: Path | None,
    model: str | None,
    weights: Path | None,
    size: int,
    **chosen: Any,
) -> None:
    """Write the input of the model's last layer as OUT.npy: (N, F) float32, a row for each image by its id.

    All images come as held-out ones do, without augmentation. --size holds without a checkpoint only.
    """
    if (checkpoint is None) == (model is None):
        raise OptionError("give either --checkpoint, of a trained model, or --model, of an untrained one")
    if checkpoint is not None and weights is not None:
        raise OptionError("--weights belongs to --model: a checkpoint has its own")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"{out}: there is no folder {out.absolute().parent}; make it first")

    import numpy as np
    import torch

    from throughput.cache import whole_file
    from throughput.cli.progress import progress_bar
    from throughput.training.checkpoint import Subject, load_weights, read
    from throughput.training.judging import features

    with progress_bar() as progress:
        found = None if checkpoint is None else read(checkpoint)
        judging = judging_of(progress, **chosen)
        if found is not None:
            subject, network = found.subject, found.load()
        else:
            from throughput.choices import choose_model, choose_work

            work = choose_work(judging.source, image_size=size, device=judging.device)
            subject = Subject.of(choose_model(model, judging.device), work)
            torch.manual_seed(0)
            network = subject.build()
            if weights is not None:
                load_weights(network, weights)
        made = features(judging, subject, network, progress)
    with whole_file(out) as file:
        np.save(file, made.outputs.numpy().astype(np.float32))
    count, width = made.outputs.shape
    click.echo(f"{out}: {count:,} images, {width:,} features each")
