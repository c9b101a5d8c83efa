"""``throughput drill``: put faults into a copy of a source, and see what every loader makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.cli.output import require_writable
from throughput.cli.shared_options import data_options

if TYPE_CHECKING:
    from throughput.drill.found import Drill, Found

_FAILED, _INTERRUPTED = 1, 130


@click.command(name="drill")
@click.option(
    "--data",
    metavar="PATH",
    help="Images to copy: class folders, tar shards, a pattern of shards, or an array (.npy). "
    "[default: photo-like images]",
)
@click.option(
    "--loader", default="all", show_default=True, metavar="NAME[,NAME...]|all", help="Loaders to drill."
)
@click.option(
    "--faults", default="all", show_default=True, metavar="NAME[,NAME...]|all", help="Faults to put in."
)
@click.option(
    "--on-error",
    "policies",
    default="raise,skip,substitute",
    show_default=True,
    metavar="POLICY[,POLICY...]",
    help="What loaders are told to do with bad samples, one after another.",
)
@click.option(
    "--share", type=float, default=0.02, show_default=True, help="Share of the samples that a fault hits."
)
@click.option(
    "--samples",
    type=int,
    default=200,
    show_default=True,
    metavar="N",
    help="Images that are copied, at most.",
)
@click.option(
    "--workers", type=int, default=2, show_default=True, metavar="N", help="Processes or threads that load."
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="Where batches become ready.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Of the images and of what hits them."
)
@click.option(
    "--limit",
    "limit_seconds",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="A run that takes longer hangs.",
)
@data_options
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write what came of each run as JSON.",
)
def command(
    *,
    data: str | None,
    loader: str,
    faults: str,
    policies: str,
    share: float,
    samples: int,
    workers: int,
    device: str,
    seed: int,
    limit_seconds: float,
    labels: Path | None,
    split_fraction: float | None,
    label_field: str | None,
    allow_pipe: bool,
    json_path: Path | None,
) -> int:
    """Put faults into a copy of a source, one kind after another, and run every loader over it.

    Faults of images: truncated, garbage, empty, flipped-body, flipped-header, bomb. Images that are unusual
    and must be read: png-named-jpg, cmyk, sixteen-bit, palette, alpha, animated-gif, animated-webp,
    exif-rotated. Of files: dangling-link, removed, folder. Of shards: shard-torn, shard-truncated,
    shard-garbage, shard-header, shard-missing, shard-replaced. Of the machine: worker-killed, disk-full,
    shm-full, memory-full.

    Every sample must come with its own pixels, or be told of by name: raised, or left out and counted. Of a
    fault that the bytes do not tell (undetectable), a packed source's checksums do. The source itself is left
    alone. Exit status: 0 done, 1 where a fault stays silent or unnamed, hangs a loader or crashes it, 2 wrong
    input, 130 interrupted; what is known by then is told.
    """
    from throughput.api import chosen_loaders
    from throughput.choices import choose_device, choose_source
    from throughput.cli.progress import progress_bar
    from throughput.drill.run import Settings, chosen_faults, chosen_policies, drill

    require_writable(json_path)
    settings = Settings(
        chosen_loaders(loader),
        chosen_faults(faults),
        chosen_policies(policies),
        share=share,
        samples=samples,
        workers=workers,
        device=str(choose_device(device)),
        seed=seed,
        limit_seconds=limit_seconds,
    )
    known: list[Drill] = []
    interrupted = False
    with progress_bar() as progress:
        source = choose_source(
            data, label_field, allow_pipe, progress, labels=labels, split_fraction=split_fraction
        )
        try:
            known.append(drill(source, settings, progress, known.append))
        except KeyboardInterrupt:
            interrupted = True
    if known:
        _tell(known[-1])
        if json_path is not None:
            _write(json_path, known[-1])
    if interrupted:
        return _INTERRUPTED
    return _FAILED if known[-1].failed else 0


def _tell(drill: Drill) -> None:
    """The table, the words of each run that failed, and a sentence about all."""
    from throughput.cli.tables import print_table

    policies = tuple(dict.fromkeys(one.policy for one in drill.found))
    rows: dict[tuple[str, str, str], list[Found]] = {}
    for one in drill.found:
        rows.setdefault((one.loader, one.fault, one.lies), []).append(one)
    print_table(
        "Faults and what loaders make of them",
        ("loader", "fault", "in", *(f"on error: {policy}" for policy in policies), "slowdown"),
        [
            (*key, *(_outcome(found, policy) for policy in policies), _slowdown(found))
            for key, found in sorted(rows.items(), key=lambda row: row[0][0])
        ],
    )
    for one in drill.failed:
        click.echo(f"{one.loader}: {one.fault} in {one.lies}, {one.policy}: {one.outcome}: {one.words}")
    for words in drill.not_planted:
        click.echo(f"throughput: {words}", err=True)
    if drill.left_out:
        click.echo(
            f"throughput: {drill.left_out} images of {drill.source} cannot be decoded and were left out",
            err=True,
        )
    click.echo(drill.summary())


def _outcome(found: list[Found], policy: str) -> str:
    return next((one.outcome for one in found if one.policy == policy), "")


def _slowdown(found: list[Found]) -> str:
    """The largest of a row's."""
    known = [one.slowdown for one in found if one.slowdown is not None]
    return f"{max(known):.2f}x" if known else "-"


def _write(path: Path, drill: Drill) -> None:
    from throughput.cache import whole_file

    with whole_file(path) as file:
        file.write(json.dumps(drill.as_json(), indent=2).encode())
