"""``throughput report``: files of results, told again in any format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from throughput.cli.output import require_writable, tell_doubts
from throughput.errors import OptionError

if TYPE_CHECKING:
    from throughput.contracts import Report
    from throughput.results import Results

Function = TypeVar("Function", bound=Callable[..., Any])

_FORMATS = {
    "html": "A page with charts, whole in one file.",
    "markdown": "The verdict and a table, for a comment on a pull request.",
    "csv": "A line for each loader and phase.",
    "junit": "JUnit XML, a test case for each loader.",
    "json": "All that was measured; of several runs a list, which this command reads too.",
}
"""Reports with an option of their own."""


@dataclass(frozen=True)
class _Output:
    """A report that is asked for. path: None for stdout."""

    option: str
    report: str
    path: Path | None


def _format_options(command: Function) -> Function:
    for name, about in reversed(_FORMATS.items()):
        command = click.option(f"--{name}", metavar="PATH", help=about)(command)
    return command


@click.command("report")
@click.argument("files", nargs=-1, required=True, metavar="FILES...", type=click.Path(path_type=Path))
@_format_options
@click.option(
    "--to",
    "others",
    multiple=True,
    metavar="NAME=PATH",
    help="Any report of `throughput list`, those of other packages among them; may be repeated.",
)
def command(*, files: tuple[Path, ...], others: tuple[str, ...], **paths: str | None) -> None:
    """Tell results of --json again: as tables, or as HTML, Markdown, CSV, JUnit or JSON.

    Without an option, tables on stdout. Several runs become one report. A PATH of - is stdout. Exit status:
    0 done, 2 wrong input.
    """
    from throughput.registry import load_report
    from throughput.results_file import places
    from throughput.results_reading import load_runs

    outputs = [
        *(_output(f"--{name}", name, paths[name]) for name in _FORMATS if paths[name] is not None),
        *map(_other, others),
    ]
    _require_apart(outputs, files)
    for output in outputs:
        require_writable(output.path, output.option)
    reports = [load_report(output.report) for output in outputs]
    named: list[tuple[str, Results]] = []
    for path in files:
        runs = load_runs(path)
        named += zip(places(path, len(runs)), runs, strict=True)
    _tell_differences(named)
    found = [results for _, results in named]
    if not outputs:
        _write(None, load_report("table").render(found))
        for results in found:
            tell_doubts(results)
    # All are made before one is written: what fails leaves nothing half done.
    texts = [_rendered(output.report, report, found) for output, report in zip(outputs, reports, strict=True)]
    for output, text in zip(outputs, texts, strict=True):
        _write(output.path, text)


def _output(option: str, report: str, path: str | None) -> _Output:
    return _Output(option, report, None if path is None or path == "-" else Path(path))


def _other(assignment: str) -> _Output:
    name, equals, path = assignment.partition("=")
    if not (name and equals and path):
        raise OptionError(f"--to must be NAME=PATH, such as csv=rates.csv, got {assignment!r}")
    return _output(f"--to {name}", name, path)


def _require_apart(outputs: Sequence[_Output], files: Sequence[Path]) -> None:
    """Raise OptionError where two reports would be written to one place, or one over what it is made of."""
    read = {path.resolve() for path in files}
    taken: dict[Path | None, str] = {}
    for output in outputs:
        place = None if output.path is None else output.path.resolve()
        where = "stdout" if output.path is None else str(output.path)
        if place in taken:
            raise OptionError(f"{taken[place]} and {output.option} both write to {where}: name another file")
        if place in read:
            raise OptionError(f"{output.option} {where} would overwrite what is read: name another file")
        taken[place] = output.option


def _rendered(name: str, report: Report, runs: Sequence[Results]) -> str:
    try:
        return report.render(runs)
    except ImportError as error:
        raise OptionError(
            f"the report {name!r} cannot be made here: {error}; install that, or anew the package that "
            "brings the report"
        ) from error


def _tell_differences(named: Sequence[tuple[str, Results]]) -> None:
    """On stderr, what each further run does not have in common with the first."""
    for name, results in named[1:]:
        for words in _differences(*named[0], name, results):
            click.echo(f"throughput: {' '.join(words.split())}", err=True)


def _differences(name_a: str, a: Results, name_b: str, b: Results) -> Iterator[str]:
    from throughput.differences import (
        describe_difference,
        machine_differences,
        software_differences,
        work_differences,
    )

    for kind, differences in (
        ("other machine: ", machine_differences(a.environment, b.environment)),
        ("other work: ", work_differences(a.work, b.work)),
        ("", software_differences(a.environment, b.environment)),
    ):
        for difference in differences:
            if difference.name != "test":  # a run's title tells it, and a gate makes a run of each test
                yield kind + describe_difference(difference, name_a, name_b)


def _write(path: Path | None, text: str) -> None:
    from throughput.cache import whole_file

    # A name may hold what is no character (half of a surrogate pair); a question mark stands for it.
    content = (text if text.endswith("\n") else f"{text}\n").encode(errors="replace")
    if path is None:
        click.echo(content, nl=False)
        return
    with whole_file(path) as file:
        file.write(content)
