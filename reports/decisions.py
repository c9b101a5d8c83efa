"""``gate``: what a gate decided, one row a test, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from throughput.contracts import Report
from throughput.reports import gate
from throughput.reports.ruled import ruled_table
from throughput.reports.terminal import console, printed
from throughput.results import Results


class GateReport(Report):
    """A rich table of the decisions of all runs, and the reasons below it."""

    about = "what a gate decided, one row a test, for a terminal"

    def render(self, runs: Sequence[Results]) -> str:
        """Plain text; empty where no run is one of a gate."""
        decisions = gate.decisions(runs)
        if not decisions:
            return ""
        to = console()
        to.print(Text(gate.heading(decisions)), soft_wrap=True)
        to.print(ruled_table(gate.HEADINGS, [gate.cells(one) for one in decisions], left=2), crop=False)
        for line in gate.reasons(decisions):
            to.print(Text(line), soft_wrap=True)
        return printed(to)
