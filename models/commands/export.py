"""``throughput export``: a model as one .onnx file that was proved to answer as torch does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from throughput.cli.judging_options import images_options, judging_of
from throughput.cli.shared_options import channels_option, mean_option, model_size_option, std_option
from throughput.errors import OptionError

if TYPE_CHECKING:
    from throughput.training.checkpoint import Checkpoint, Subject
    from throughput.training.judging import Judging

_OF_IMAGES = ("size", "channels", "mean", "std")


@click.command(name="export")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.onnx")
@click.option("--checkpoint", type=click.Path(path_type=Path), metavar="PATH", help="Of `throughput train`.")
@click.option(
    "--model",
    metavar="NAME",
    help="Without a checkpoint: any name of `throughput list --models`, untrained. With one: its own, needed "
    "only where that is package.module:callable, since no file may choose what code is run.",
)
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", help="A state dict for that model."
)
@model_size_option
@channels_option
@mean_option
@std_option
@click.option("--opset", type=int, metavar="N", help="Of the standard operators. [default: 20]")
@click.option(
    "--embed-preprocessing",
    is_flag=True,
    help="The graph takes uint8 images (N, S, S, C), as decoders make them, and normalises them itself.",
)
@click.option(
    "--limit",
    type=float,
    metavar="SHARE",
    help="How far logits may be off, relative to an image's largest. [default: 0.001]",
)
@images_options
def command(
    *,
    out: Path,
    checkpoint: Path | None,
    model: str | None,
    weights: Path | None,
    size: int | None,
    channels: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    opset: int | None,
    embed_preprocessing: bool,
    limit: float | None,
    **chosen: Any,
) -> None:
    """Write a model as OUT.onnx, with an open batch, once it has answered 256 real images as torch does.

    The file tells its classes, image size, mean and std, and the command that trained it.
    """
    if checkpoint is None and model is None:
        raise OptionError("give --checkpoint, or --model for an untrained one")
    of_images = {"size": size, "channels": channels, "mean": mean, "std": std}
    if checkpoint is not None:
        given = [f"--{name}" for name in _OF_IMAGES if of_images[name] is not None]
        given += ["--weights"] if weights is not None else []
        if given:
            raise OptionError(f"{', '.join(given)} go with --model alone: a checkpoint knows its own")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {out.absolute().parent}; make it first")

    from throughput.cli.progress import progress_bar
    from throughput.models.exporting import OPSET, export
    from throughput.models.parity import LIMIT
    from throughput.training.checkpoint import load_weights, read, untrained
    from throughput.training.judging import require_classes

    found: Checkpoint | None = None
    if checkpoint is not None:
        found = read(checkpoint, () if model is None else (model,))
    with progress_bar() as progress:
        judging = judging_of(progress, **chosen)
        if found is not None:
            subject, network = found.subject, found.load()
            assert checkpoint is not None
            require_classes(checkpoint, subject, judging.source)
            trained_by = str(found.run.get("command", ""))
        else:
            assert model is not None
            subject, trained_by = (
                _subject(model, judging, size=size, channels=channels, mean=mean, std=std),
                "",
            )
            network = subject.build()
            if weights is not None and (left := load_weights(network, weights)):
                click.echo(f"throughput: {untrained(weights, left)}", err=True)
        exported = export(
            network,
            subject,
            out,
            judging,
            opset=OPSET if opset is None else opset,
            embed_preprocessing=embed_preprocessing,
            command=trained_by,
            limit=LIMIT if limit is None else limit,
            progress=progress,
        )
    click.echo(
        f"{exported.path}: {subject.model}, {exported.bytes / 1e6:,.1f} MB, opset {exported.opset}, takes "
        f"{exported.layout} of {subject.image_size} px"
    )
    click.echo(f"beside torch: {exported.parity.words}")


def _subject(
    model: str,
    judging: Judging,
    *,
    size: int | None,
    channels: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
) -> Subject:
    """Of an untrained model for the source's classes."""
    from throughput.choices import choose_image_size, choose_work
    from throughput.training.checkpoint import Subject

    work = choose_work(
        judging.source,
        batch_size=1,
        image_size=choose_image_size(size, model),
        channels=channels,
        mean=mean,
        std=std,
        device="cpu",
    )
    subject = Subject.of(model, work)
    return replace(subject, source="", train_digest="")  # it was trained on nothing
