"""``throughput compare``: two files of results, loader by loader and phase by phase."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.comparison import ALLOWANCES

if TYPE_CHECKING:
    from throughput.comparison import RateChange, RunComparison


@click.command("compare")
@click.argument("path_a", metavar="A.json", type=click.Path(path_type=Path))
@click.argument("path_b", metavar="B.json", type=click.Path(path_type=Path))
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(ALLOWANCES),
    help="Compare although the machine, or the work, differs; may be repeated.",
)
def command(path_a: Path, path_b: Path, allow: tuple[str, ...]) -> None:
    """Compare two runs of `throughput bench --json`: how fast is B, seen from A?

    The interval of each ratio holds with 95 % confidence, as far as the passes of the two runs tell. Runs of
    different machines, or of different work, are refused. Exit status: 0 done, 2 wrong input, 3 there is
    nothing that both runs measured.
    """
    from throughput.comparison import compare_runs, require_alike
    from throughput.errors import NothingMeasuredError
    from throughput.results_file import read_results

    comparison = compare_runs(read_results(path_a), read_results(path_b))
    require_alike(comparison, allow)
    _print(comparison, path_a, path_b)
    if not comparison.rates:
        raise NothingMeasuredError(f"{path_a} and {path_b} have nothing in common that was measured")


def _print(comparison: RunComparison, path_a: Path, path_b: Path) -> None:
    from throughput.cli.tables import print_table
    from throughput.differences import describe_difference

    click.echo(f"A: {path_a}\nB: {path_b}")
    for kind, differences in (("other machine", comparison.machine), ("other work", comparison.work)):
        for difference in differences:
            click.echo(f"{kind}: {describe_difference(difference)}")
    for difference in comparison.others:
        click.echo(describe_difference(difference))
    click.echo()
    print_table(
        "Images per second of A and B, and their ratio with its 95 % interval",
        ("loader", "phase", "A", "B", "B / A", "B is"),
        [_cells(change) for change in comparison.rates],
    )
    click.echo("The intervals are of passes within a run: what differs from run to run is not in them.")
    for sentence in comparison.left_out:
        click.echo(f"not compared: {sentence}")
    for sentence in comparison.doubts:
        click.echo(f"throughput: {sentence}", err=True)


def _cells(change: RateChange) -> tuple[str, ...]:
    interval = "" if change.low is None else f" [{change.low:.3f}, {change.high:.3f}]"
    return (
        change.loader,
        change.phase,
        f"{change.a:,.0f}",
        f"{change.b:,.0f}",
        "-" if change.ratio is None else f"{change.ratio:.3f}{interval}",
        change.words,
    )
