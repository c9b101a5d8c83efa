"""``throughput synth``: photo-like JPEGs to measure with, where there are no photos at hand."""

from __future__ import annotations

from pathlib import Path

import click

from throughput.cli.progress import progress_bar

_CLASSES = 16


@click.command("synth")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--count", type=int, default=1024, show_default=True, help="Number of photos.")
@click.option("--classes", type=int, help="Number of classes. [default: 16, or as many as photos]")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives other photos.")
def command(out: Path, count: int, classes: int | None, seed: int) -> None:
    """Write photo-like JPEGs into the folder OUT, one folder a class.

    Sizes, bytes and chroma subsampling follow ImageNet's photos, and the classes can be learned.
    OUT must not exist, or be empty.
    """
    from throughput.sources.synthetic import write_synthetic

    with progress_bar() as progress:
        made = write_synthetic(
            out,
            count=count,
            classes=max(1, min(_CLASSES, count)) if classes is None else classes,
            seed=seed,
            progress=progress,
        )
    click.echo(f"{made.samples} photos, {made.bytes / 1e6:.1f} MB, {made.seconds:.1f} s, in {out}")
