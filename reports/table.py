"""``table``: one row a loader, for a terminal."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from throughput.contracts import Report
from throughput.reports import gate
from throughput.reports.cells import (
    ANSWERING,
    NOTHING,
    TRAINING,
    Cell,
    answers,
    is_evaluation,
    ranked,
    stamps,
    title,
)
from throughput.reports.notes import notes
from throughput.reports.ruled import ruled_table
from throughput.reports.training import tables
from throughput.results import GateDecision, Results, Row


class TableReport(Report):
    """A rich table, as wide as the terminal (at least 100 columns), with what it means below it."""

    about = "one row a loader, for a terminal"

    def render(self, runs: Sequence[Results]) -> str:
        """Plain text; colours are left to whoever prints to a terminal. What a gate decided comes first."""
        decisions = gate.decisions(runs)
        return "\n\n".join([*([_decided(decisions)] if decisions else []), *map(_rendered, runs)])


def _decided(decisions: Sequence[GateDecision]) -> str:
    console = _console()
    console.print(Text(gate.heading(decisions)), soft_wrap=True)
    console.print(ruled_table(gate.HEADINGS, [gate.cells(one) for one in decisions], left=2), crop=False)
    for line in gate.reasons(decisions):
        console.print(Text(line), soft_wrap=True)
    return _printed(console)


def _rendered(results: Results) -> str:
    columns = ANSWERING if answers(results) else TRAINING
    rows = [(_name(row), *_cells(row, columns)) for row in ranked(results.rows)]
    console = _console()
    console.print(Text(title(results)), soft_wrap=True)
    if not all(is_evaluation(row) for row in results.rows) or not results.rows:
        console.print(ruled_table(("loader", "decode", *columns), rows, left=2), crop=False)
    for row in () if answers(results) else results.rows:  # what feeds a model changes nothing about it
        for one in tables(row):
            console.print(one, crop=False)
    for line in notes(results):
        console.print(Text(line), soft_wrap=True)
    return _printed(console)


def _console() -> Console:
    width = max(100, shutil.get_terminal_size((120, 24)).columns)
    # Paths may hold what rich would take for markup.
    return Console(file=io.StringIO(), width=width, markup=False, emoji=False)


def _printed(console: Console) -> str:
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO from above
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


def _name(row: Row) -> str:
    """With a stamp below it where the row is not what it seems."""
    return "\n".join([row.loader, *stamps(row)])


def _cells(row: Row, columns: Mapping[str, Cell]) -> list[str]:
    if row.status != "ok":
        return [row.status, *[NOTHING] * len(columns)]
    return [row.decode or NOTHING, *(cell(row) for cell in columns.values())]
