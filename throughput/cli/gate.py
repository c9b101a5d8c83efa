"""``throughput gate``: is the head of a change slower than its base?"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.cli.output import require_writable
from throughput.cli.shared_options import json_option, seed_option

if TYPE_CHECKING:
    from throughput.contracts import Progress
    from throughput.results import GateDecision

SLOWER = 1
_LOG_SECONDS = 15.0


@click.command(name="gate")
@click.option(
    "--base",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A checkout of what the change is made to.",
)
@click.option(
    "--head",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A checkout of the change.",
)
@click.option(
    "--base-python",
    default=sys.executable,
    metavar="PATH",
    help="What runs the base's tests, if other versions of libraries belong to it. [default: this Python]",
)
@click.option(
    "--head-python",
    default=sys.executable,
    metavar="PATH",
    help="The same of the head. [default: this Python]",
)
@click.option(
    "--fail-below",
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="How much slower the head may be, where a test's mark names no min_ratio.",
)
@click.option(
    "--budget",
    default="5m",
    show_default=True,
    metavar="TIME",
    help="Stop by then, decided or not; the tests share it.",
)
@click.option(
    "--seconds", type=float, default=1.5, show_default=True, metavar="S", help="Length of a round's pass."
)
@click.option("--strict", is_flag=True, help="Exit with 1 if it stays undecided, too.")
@seed_option
@json_option
@click.option(
    "--markdown",
    "markdown_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write the report for a pull request's comment.",
)
@click.argument("tests", nargs=-1, type=click.UNPROCESSED)
def command(
    base: Path,
    head: Path,
    base_python: str,
    head_python: str,
    fail_below: str,
    budget: str,
    seconds: float,
    strict: bool,
    seed: int,
    json_path: Path | None,
    markdown_path: Path | None,
    tests: tuple[str, ...],
) -> int:
    """Run the same TESTS of two checkouts in turn, in one job, and decide whether the head is slower.

    TESTS are those that ask for loader_benchmark, train_benchmark or infer_benchmark; what else pytest takes
    goes after `--`. Of each the phase by which it is judged is measured; what it asserts itself is not looked
    at. Each round runs in a fresh process, base and head next to each other, until the interval
    of their ratio lies on one side of the margin, or time is up. Exit status: 0 not slower, or undecided; 1
    slower, or the head's test failed (with --strict also undecided); 2 wrong input; 3 nothing measured;
    130 interrupted (nothing is written).
    """
    from throughput.cache import whole_file
    from throughput.cli.progress import progress_bar
    from throughput.gate.arms import Side
    from throughput.gate.gating import Gate, gate
    from throughput.quantities import parse_duration, parse_share
    from throughput.registry import load_report

    require_writable(json_path)
    require_writable(markdown_path, "--markdown")
    plan = Gate(
        Side("base", base, base_python),
        Side("head", head, head_python),
        pytest_arguments=tests,
        margin=parse_share("--fail-below", fail_below),
        budget_seconds=parse_duration("--budget", budget),
        seconds=seconds,
        seed=seed,
    )
    try:
        with progress_bar() as bar:
            runs = gate(plan, bar if sys.stderr.isatty() else _told_now_and_then())
    except KeyboardInterrupt:
        click.echo("throughput: interrupted; nothing was decided, and no report is written", err=True)
        raise
    for report, path in (("json", json_path), ("markdown", markdown_path)):
        if path is not None:
            with whole_file(path) as file:
                file.write(load_report(report).render(runs).encode())
    click.echo(load_report("gate").render(runs))
    return _exit_status([one for run in runs for one in run.gate], strict)


def _exit_status(decisions: list[GateDecision], strict: bool) -> int:
    bad = {"slower", "failed", *(["undecided"] if strict else [])}
    return SLOWER if any(one.decision in bad for one in decisions) else 0


def _told_now_and_then() -> Progress:
    """For a log: a line on stderr from time to time."""
    last = 0.0

    def tell(text: str, done: float, total: float | None) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_SECONDS:
            last = time.monotonic()
            gone = "" if total is None else f" ({done:.0f} of {total:.0f} s)"
            click.echo(f"throughput: {text}{gone}", err=True)

    return tell
