"""``throughput check``: look at every sample of a data set, and list the bad ones."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.cli.output import require_writable
from throughput.cli.shared_options import allow_pipe_option, label_field_option, labels_option

if TYPE_CHECKING:
    from throughput.checking.findings import Fault, Findings

_BAD = 1
_MOST_ROWS = 100
"""Of the table: more cannot be read, and stand in what --json and --list write."""

_PHRASES = {"samples missing": "with samples missing", "no images": "without images"}
"""Kinds of faults that would not read right after a number, be it 1 or more."""


@click.command("check")
@click.argument("data")
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Processes that look at samples; auto: the usable cores.",
)
@click.option("--again", is_flag=True, help="Begin anew, whatever an interrupted check has looked at.")
@labels_option
@label_field_option
@allow_pipe_option
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write all that was found as JSON.",
)
@click.option(
    "--list",
    "list_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write where the bad ones lie, one a line: the file; or shard, key and byte with tabs between.",
)
def command(
    *,
    data: str,
    workers: str,
    again: bool,
    labels: Path | None,
    label_field: str | None,
    allow_pipe: bool,
    json_path: Path | None,
    list_path: Path | None,
) -> int:
    """Read and decode every sample of DATA, and list those that are bad, with the place and the cause.

    DATA is a folder of class folders, tar shards, a pattern of shards, or an array (.npy) with its --labels.
    Looked for are files that are empty, truncated, damaged, no images, too large or unreadable; bytes that
    are not those that were packed; samples that crash a decoder; shards that are missing, torn, or damaged
    in the middle; images in no class folder, and class folders without images. What is peculiar but no fault
    is counted. An interrupted check goes on where it was. Exit status: 0 done, all good; 1 something is bad;
    2 wrong input; 130 interrupted.
    """
    from throughput.checking.findings import as_json
    from throughput.checking.kept import Kept
    from throughput.checking.listing import list_pieces
    from throughput.checking.run import check
    from throughput.choices import choose_workers
    from throughput.cli.progress import progress_bar
    from throughput.contracts import require_count
    from throughput.errors import SourceError

    require_writable(json_path)
    require_writable(list_path, "--list")
    chosen_workers = choose_workers(workers)
    require_count("workers (--workers)", chosen_workers)
    with progress_bar() as progress:
        listing = list_pieces(
            data, label_field=label_field, allow_pipe=allow_pipe, labels=labels, progress=progress
        )
    kept = Kept(listing)
    done = None if again else kept.load()
    if done is not None:
        click.echo(
            f"throughput: going on where an interrupted check was: "
            f"{done.samples} of {listing.samples} samples were looked at (--again begins anew)",
            err=True,
        )
    try:
        with progress_bar() as progress:
            found = check(listing, chosen_workers, kept=kept, again=again, progress=progress)
    except KeyboardInterrupt:
        click.echo("throughput: interrupted; the same command goes on from here", err=True)
        raise
    except SourceError as error:
        raise SourceError(
            f"the check ended at {error}; what was seen before is kept: the same command goes on from here"
        ) from error
    _tell(found)
    if json_path is not None:
        _write(json_path, json.dumps(as_json(found), indent=1))
    if list_path is not None:
        _write(list_path, "\n".join(found.lines()))
    return _BAD if found.faults else 0


def _tell(found: Findings) -> None:
    """The table of what is bad, and below it everything in numbers."""
    from throughput.cli.tables import print_table

    faults = found.faults
    print_table(
        "Bad", ("where", "key", "byte", "fault", "cause"), [_row(fault) for fault in faults[:_MOST_ROWS]]
    )
    if len(faults) > _MOST_ROWS:
        click.echo(f"and {len(faults) - _MOST_ROWS} more: --json and --list write them all")
    megabytes = found.bytes / 1e6
    kinds = _listed(Counter(fault.fault for fault in found.bad))
    click.echo(
        f"{_counted(found.samples, 'sample')}, {megabytes:.1f} MB, {len(found.bad)} bad{kinds}; "
        f"{found.seconds:.1f} s, {megabytes / max(found.seconds, 1e-9):.1f} MB/s, "
        f"{_counted(found.workers, 'worker')}"
    )
    if found.shards:
        damaged = [shard for shard in found.shards if shard.faults]
        kinds = _listed(Counter(fault.fault for shard in damaged for fault in shard.faults))
        click.echo(f"{_counted(len(found.shards), 'shard')}, {len(damaged)} bad{kinds}")
        known = [shard for shard in found.shards if shard.expected is not None]
        if known:
            reached, expected = (
                sum(shard.reached for shard in known),
                sum(shard.expected or 0 for shard in known),
            )
            click.echo(f"{reached} of {_counted(expected, 'packed sample')} can be reached")
    if found.beside:
        kinds = _listed(Counter(fault.fault for fault in found.beside))
        click.echo(f"{_counted(len(found.beside), 'fault')} beside them{kinds}")
    for remark in found.remarks:
        first = remark.first
        key = "" if first.key is None else f", key {first.key}"
        click.echo(
            f"no fault: {remark.kind}, {_counted(remark.times, 'time')} (first: {_shown(first.path + key)})"
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(kinds: Counter[str]) -> str:
    return (
        f" ({', '.join(f'{count} {_PHRASES.get(kind, kind)}' for kind, count in kinds.most_common())})"
        if kinds
        else ""
    )


def _row(fault: Fault) -> tuple[str, ...]:
    place = fault.place
    byte = "" if place.offset is None else str(place.offset)
    return (_shown(place.path), _shown(place.key or ""), byte, fault.fault, _shown(fault.cause))


def _shown(text: str) -> str:
    """Without what a terminal would obey, or cannot write: names come from whoever made the files."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _write(path: Path, text: str) -> None:
    from throughput.cache import whole_file

    with whole_file(path) as file:
        # Names of files need be no text.
        file.write(text.encode(errors="surrogateescape") + (b"\n" if text else b""))
