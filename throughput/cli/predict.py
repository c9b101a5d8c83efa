"""``throughput predict``: what a trained model sees in images."""

from __future__ import annotations

from pathlib import Path

import click

from throughput.cli.judging_options import models_option
from throughput.cli.shared_options import device_option, precision_option


@click.command(name="predict")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "--checkpoint",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Of `throughput train`.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=3, show_default=True, metavar="N", help="Classes of each."
)
@models_option
@precision_option
@device_option
def command(
    *,
    images: tuple[Path, ...],
    checkpoint: Path,
    top: int,
    models: tuple[str, ...],
    precision: str,
    device: str,
) -> None:
    """Print the likeliest classes of each IMAGE with their probabilities: one line an image."""
    from throughput.training.checkpoint import read
    from throughput.training.guess import guess

    found = read(checkpoint, models)
    classes = found.subject.classes
    for path, outputs in zip(images, guess(found, images, device=device, precision=precision), strict=True):
        if not classes:
            click.echo(f"{path}: {', '.join(f'{value:.6g}' for value in outputs.tolist())}")
            continue
        likeliest = outputs.topk(min(top, len(classes)))
        told = [
            f"{classes[place]} {100 * share:.1f} %"
            for share, place in zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
        ]
        click.echo(f"{path}: {', '.join(told)}")
