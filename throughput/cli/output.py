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


def require_writable(json_path: Path | None) -> None:
    """Raise OptionError where ``--json`` could not be written; None: nothing is asked for."""
    if json_path is None:
        return
    folder = json_path.absolute().parent
    if not folder.is_dir():
        raise OptionError(f"--json {json_path}: there is no folder {folder}; make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(
            f"--json {json_path}: cannot write in {folder}: {error.strerror}; name another folder"
        ) from error


def tell(results: Results, json_path: Path | None) -> None:
    """The table on stdout, the JSON if asked for, and a line on stderr for each row that failed."""
    from throughput.registry import load_report

    write_json(results, json_path)
    click.echo(load_report("table").render([results]))
    sys.stdout.flush()
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
