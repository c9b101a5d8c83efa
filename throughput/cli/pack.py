"""``throughput pack``: any images as tar shards."""

from __future__ import annotations

from pathlib import Path

import click

from throughput.cli.shared_options import labels_option, split_fraction_option


@click.command("pack")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--label-field", metavar="FIELD", help="Field of .json members that holds the label.")
@click.option("--allow-pipe", is_flag=True, help="Run the shell command of a pipe: source.")
@labels_option
@split_fraction_option
@click.option("--samples-per-shard", type=click.IntRange(min=1), metavar="N", help="Samples in each shard.")
@click.option(
    "--shard-mb",
    type=click.FloatRange(min=0, min_open=True),
    default=1000.0,
    show_default=True,
    help="Size that no shard should be much above.",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Losslessly give JPEGs restart intervals, by which the loader roi decodes only what a crop keeps.",
)
@click.option(
    "--growth",
    type=click.FloatRange(min=0, max=100),
    metavar="PERCENT",
    help="How far the images may grow for narrower intervals, which decode faster. [default: 0.5]",
)
def command(
    source: str,
    out: Path,
    *,
    label_field: str | None,
    allow_pipe: bool,
    labels: Path | None,
    split_fraction: float | None,
    samples_per_shard: int | None,
    shard_mb: float,
    restart: bool,
    growth: float | None,
) -> None:
    """Write the images of SOURCE to WebDataset tar shards in the folder OUT.

    SOURCE is a folder of class folders, other shards, or an array of images (.npy) with its --labels. The
    encoded bytes stay as they are (an array's images become PGM or PPM), the shards are shuffled, and ids,
    labels and splits are those of SOURCE. Called again, it goes on where it was stopped. With --restart,
    JPEGs are coded anew with the same coefficients, and so the same pixels, about as many bytes (progressive
    ones take more, as baseline JPEGs), and restart markers; what cannot be, stays as it is, and is counted.
    """
    from throughput.cli.progress import progress_bar
    from throughput.errors import OptionError
    from throughput.sources import open_source
    from throughput.sources.pack import MOST_GROWTH, TRANSCODED, pack

    if growth is not None and not restart:
        raise OptionError("--growth is of no use without --restart")
    share = MOST_GROWTH if growth is None else growth / 100
    with progress_bar() as progress:
        opened = open_source(
            source,
            label_field=label_field,
            allow_pipe=allow_pipe,
            labels=labels,
            split_fraction=split_fraction,
            progress=progress,
        )
        packed = pack(
            opened,
            out,
            samples_per_shard=samples_per_shard,
            shard_bytes=max(1, round(shard_mb * 1e6)),
            growth=share if restart else None,
            progress=progress,
        )
    shards = "1 shard" if packed.shards == 1 else f"{packed.shards} shards"
    click.echo(
        f"{packed.samples} samples in {shards}, {packed.bytes} bytes, {packed.seconds:.1f} seconds: {out}"
    )
    if restart:
        before, after = opened.encoded_bytes(), open_source(out).encoded_bytes()
        click.echo(f"images of {before} bytes take {after} now ({_change(before, after)})")
        if packed.progressive_bytes:
            converted = _change(packed.progressive_bytes, packed.converted_bytes)
            others = _change(before - packed.progressive_bytes, after - packed.converted_bytes)
            click.echo(
                f"progressive ones of {packed.progressive_bytes} bytes take {packed.converted_bytes} "
                f"as baseline ({converted}), the others {others}"
            )
    for kind, count in sorted(packed.kinds.items(), key=lambda one: (one[0] not in TRANSCODED, one[0])):
        click.echo(f"{count} {kind}: {'restart intervals' if kind in TRANSCODED else 'left as they are'}")


def _change(before_bytes: int, after_bytes: int) -> str:
    return f"{100 * (after_bytes / before_bytes - 1) if before_bytes else 0:+.2f} %"
