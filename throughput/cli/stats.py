"""``throughput stats``: a data set's own mean and standard deviation."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.cli.output import require_writable
from throughput.cli.shared_options import channels_option, data_options

if TYPE_CHECKING:
    from throughput.measure.pixel_moments import PixelMoments


@click.command("stats")
@click.option(
    "--data",
    required=True,
    metavar="PATH",
    help="Class folders, tar shards, a pattern of shards, or an array (.npy) with its --labels.",
)
@data_options
@channels_option
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write the numbers as JSON.",
)
def command(
    *,
    data: str,
    labels: Path | None,
    split_fraction: float | None,
    label_field: str | None,
    allow_pipe: bool,
    channels: int | None,
    json_path: Path | None,
) -> None:
    """Compute the mean and standard deviation of each channel, in 0..1, in one pass over the train images.

    Every pixel counts alike, as decoded, before any resize or crop; held-out images are left out. Give the
    numbers to bench, certify and train as --mean and --std.
    """
    from throughput.choices import choose_source
    from throughput.cli.progress import progress_bar
    from throughput.measure.pixel_moments import pixel_moments

    require_writable(json_path)
    with progress_bar() as progress:
        source = choose_source(
            data,
            label_field,
            allow_pipe,
            progress,
            labels=labels,
            split_fraction=split_fraction,
        )
        moments = pixel_moments(source, channels, progress)
    if json_path is not None:
        _write(json_path, moments)
    click.echo(f"{moments.images} train images, {moments.pixels} pixels")
    click.echo(f"--mean {_listed(moments.mean)} --std {_listed(moments.std)}")


def _listed(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:.6g}" for number in numbers)


def _write(path: Path, moments: PixelMoments) -> None:
    from throughput.cache import whole_file

    with whole_file(path) as file:
        file.write(json.dumps(asdict(moments), indent=2).encode() + b"\n")
