"""``table``: one row a loader, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from throughput.contracts import Report
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
from throughput.reports.decisions import GateReport
from throughput.reports.notes import notes
from throughput.reports.ruled import ruled_table
from throughput.reports.terminal import console, printed
from throughput.reports.training import tables
from throughput.results import Results, Row


class TableReport(Report):
    """A rich table, as wide as the terminal (at least 100 columns), with what it means below it."""

    about = "one row a loader, for a terminal"

    def render(self, runs: Sequence[Results]) -> str:
        """Plain text; colours are left to whoever prints to a terminal. What a gate decided comes first."""
        decided = GateReport().render(runs)
        return "\n\n".join([*([decided] if decided else []), *(_rendered(run) for run in runs if run.work)])


def _rendered(results: Results) -> str:
    columns = ANSWERING if answers(results) else TRAINING
    rows = [(_name(row), *_cells(row, columns)) for row in ranked(results.rows)]
    to = console()
    to.print(Text(title(results)), soft_wrap=True)
    if not all(is_evaluation(row) for row in results.rows) or not results.rows:
        to.print(ruled_table(("loader", "decode", *columns), rows, left=2), crop=False)
    for row in () if answers(results) else results.rows:  # what feeds a model changes nothing about it
        for one in tables(row):
            to.print(one, crop=False)
    for line in notes(results):
        to.print(Text(line), soft_wrap=True)
    return printed(to)


def _name(row: Row) -> str:
    """With a stamp below it where the row is not what it seems."""
    return "\n".join([row.loader, *stamps(row)])


def _cells(row: Row, columns: Mapping[str, Cell]) -> list[str]:
    if row.status != "ok":
        return [row.status, *[NOTHING] * len(columns)]
    return [row.decode or NOTHING, *(cell(row) for cell in columns.values())]
