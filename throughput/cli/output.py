"""What a command writes: files, refused before the work whose results they would lose; and its results."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.errors import OptionError

if TYPE_CHECKING:
    from throughput.results import Results


def require_writable(path: Path | None, option: str = "--json") -> None:
    """Raise OptionError where the file that an option names could not be written; None: none is asked for."""
    if path is None:
        return
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OptionError(f"{option} {path}: there is no folder {folder}; make it first")
    if path.is_dir():
        raise OptionError(f"{option} {path}: this is a folder; name a file in it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(
            f"{option} {path}: cannot write in {folder}: {error.strerror}; name another folder"
        ) from error


def tell(results: Results, json_path: Path | None) -> None:
    """The table on stdout, the JSON if asked for, and on stderr what casts doubt on it."""
    from throughput.registry import load_report

    write_json(results, json_path)
    click.echo(load_report("table").render([results]))
    sys.stdout.flush()
    tell_doubts(results)


def tell_doubts(results: Results) -> None:
    """A line on stderr for each warning, and for each row that failed."""
    for row in results.rows:
        for warning in row.warnings:
            click.echo(f"throughput: {row.loader}: {warning}", err=True)
        if row.status == "failed":
            click.echo(f"throughput: {row.loader} failed: {row.reason}", err=True)


def write_json(results: Results, json_path: Path | None) -> None:
    """The results as JSON, if asked for."""
    from throughput.cache import whole_file
    from throughput.registry import load_report

    if json_path is not None:
        with whole_file(json_path) as file:
            file.write(load_report("json").render([results]).encode())
