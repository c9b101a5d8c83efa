"""Ways to compute the same answers, side by side on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.errors import NothingMeasuredError

if TYPE_CHECKING:
    from throughput.results import Comparison, Results, Row

_HEADINGS = ("way", "images/s", "to the first", "p50 ms", "p99 ms", "top-1", "agrees", "MB")


def tell_comparison(title: str, results: Results, names: list[str], json_path: Path | None) -> None:
    """Print a row for each way, in order, and write the JSON if asked for; a way that failed says why.

    Raises NothingMeasuredError where none could be measured.
    """
    from throughput.cli.output import write_json
    from throughput.cli.tables import print_table

    write_json(results, json_path)
    compared = {one.loader: one for one in results.comparisons}
    named = list(zip(names, results.rows, strict=True))
    measured = [(name, row) for name, row in named if row.status == "ok"]
    cells = [_cells(name, row, compared.get(name), first=name == names[0]) for name, row in measured]
    print_table(title, _HEADINGS, cells)
    for name, row in named:
        if row.runtime is not None:
            click.echo(f"{name}: {row.runtime.words}")
        if row.parity is not None:
            click.echo(f"{name} beside {row.parity.reference}: {row.parity.words}")
        elif row.accuracy_reason is not None:
            click.echo(f"{name}: no accuracy: {row.accuracy_reason}")
        for warning in row.warnings:
            click.echo(f"throughput: {name}: {warning}", err=True)
        if row.status != "ok":
            click.echo(f"throughput: {name} {row.status}: {row.reason}", err=True)
    if not measured:
        raise NothingMeasuredError("none of these could be measured; why is told above")


def _cells(name: str, row: Row, compared: Comparison | None, *, first: bool) -> tuple[str, ...]:
    runtime, model = row.runtime, row.model
    assert runtime is not None
    assert model is not None
    rate, latency = model.images_per_second, model.latency_ms
    agreement = None if row.parity is None else row.parity.agreement
    half = ""
    if rate.low is not None and rate.high is not None:
        width = (rate.high - rate.low) / 2
        # Two passes that differ say next to nothing, and their interval says so.
        half = f" ±{width:,.1f}" if width < rate.median else " ±>100%"
    ratio = "1" if first else "-"
    if compared is not None:
        ratio = f"{compared.ratio:.2f}"
    if compared is not None and compared.low is not None and compared.high is not None:
        ratio += f" [{compared.low:.2f}, {compared.high:.2f}]"
    return (
        name,
        f"{rate.median:,.1f}{half}",
        ratio,
        f"{latency['p50']:,.1f}" if latency else "-",
        f"{latency['p99']:,.1f}" if latency else "-",
        f"{100 * row.accuracy:.2f}%" if row.accuracy is not None else "-",
        f"{100 * agreement:.2f}%" if agreement is not None else "-",
        f"{runtime.bytes / 1e6:,.2f}" if runtime.bytes else "-",
    )
