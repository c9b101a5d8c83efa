"""``markdown``: the verdict in words, one table, the rest folded away: for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from throughput.contracts import Report
from throughput.reports import gate
from throughput.reports.cells import (
    ANSWERING,
    NOTHING,
    TRAINING,
    answers,
    fastest,
    is_evaluation,
    measured_phase,
    measured_phase_name,
    percent,
    proof,
    ranked,
    share_of_ceiling,
    title,
)
from throughput.reports.github import Section, bullets, code, comment, escaped, folded, paragraph, table
from throughput.reports.headline import headline
from throughput.reports.notes import (
    comparison_notes,
    epoch_notes,
    row_facts,
    suggestion_notes,
    tells_nothing,
)
from throughput.reports.tellable import tellable
from throughput.results import Results, Row

_LEFT_OUT = ("CPU", "memory\nGB", "top-1")
"""Columns of the terminal's table that a comment is too narrow for."""
_WORDS = ("loader", "provider", "verdict", "proof", "test", "decision")
"""Columns that hold no numbers."""


class MarkdownReport(Report):
    """GitHub's Markdown, short enough for a comment; nothing in it mentions anybody or links to anything."""

    about = "the verdict in words and one table, for a comment on a pull request"

    def render(self, runs: Sequence[Results]) -> str:
        """One run below the other; of what is too long, folded parts lose their last lines."""
        return comment(_sections(runs))


def _sections(runs: Sequence[Results]) -> Iterator[Section]:
    if decided := gate.decisions(runs):
        yield paragraph(f"### Gate: **{gate.overall(decided)}**")
        yield paragraph(escaped(gate.rule(decided)))
        yield table(_flat(gate.HEADINGS), map(gate.cells, decided), _WORDS)
        yield from _list(map(escaped, gate.reasons(decided)))
    for number, results in enumerate(runs):
        yield from _run(results)
        yield from _details(results)
        if number == 0 or _place(results) != _place(runs[number - 1]):
            yield from _fold("Environment", _entries(results.environment))
            yield folded("Command", paragraph(code(results.command)))


def _place(results: Results) -> object:
    """Where a run was made: those of one command need not tell it each."""
    return results.environment, results.command


def _run(results: Results) -> Iterator[Section]:
    rates = [_rates(results)] if any(not is_evaluation(row) for row in results.rows) else []
    told = [paragraph(escaped(title(results)))] if title(results) else []
    if results.gate:  # what was decided stands above
        yield from told
        yield from (folded("Rates", section) for section in rates)
    else:
        yield from map(paragraph, _headline(results))
        yield from told
        yield from rates
    yield from _list(map(escaped, comparison_notes(results)))


def _headline(results: Results) -> Iterator[str]:
    """Which loader is the one to take; how fast it is, and what limits it."""
    yield f"### {escaped(headline(tellable(results)))}"
    best = fastest(results.rows)
    phase = None if best is None else measured_phase(best)
    if best is None or phase is None:
        return
    rate = phase.images_per_second
    told = f"**{escaped(best.loader)}**: {rate.median:,.0f} images/s {_what(best, results)}"
    if rate.low is None or rate.high is None:
        told += ", in one pass, which shows no interval"
    elif tells_nothing(rate.low, rate.high):
        told += ", in passes that differ too much for an interval"
    else:
        told += f" [{rate.low:,.0f}, {rate.high:,.0f}]"
    share = share_of_ceiling(best)
    if share is not None:
        told += f", {percent(share)} of the ceiling"
    if best.verdict is not None:
        told += f". **{escaped(best.verdict.bottleneck)}**: {escaped(best.verdict.sentence)}"
    yield f"{told}."


def _what(row: Row, results: Results) -> str:
    """What ran at the rate that is told."""
    both = "loader and session together" if answers(results) else "in training"
    alone = "session" if answers(results) else "model"
    return {"train": both, "load": "from the loader alone", "model": f"of the {alone} alone"}[
        measured_phase_name(row)
    ]


def _rates(results: Results) -> Section:
    columns = ANSWERING if answers(results) else TRAINING
    shown = {heading: cell for heading, cell in columns.items() if heading not in _LEFT_OUT}

    def cells(row: Row) -> list[str]:
        if row.status != "ok":
            return [
                row.loader,
                row.status,
                *[NOTHING] * (len(shown) - 1),
                NOTHING if row.reason is None else row.reason,
            ]
        return [row.loader, *(cell(row) for cell in shown.values()), proof(row)]

    return table(_flat(["loader", *shown, "proof"]), map(cells, ranked(results.rows)), _WORDS)


def _details(results: Results) -> Iterator[Section]:
    measured = [row for row in results.rows if row.status == "ok"]
    warnings = [_of(row, warning) for row in results.rows for warning in row.warnings]
    tries = [_of(row, line) for row in measured if row.verdict for line in suggestion_notes(row.verdict)]
    facts = [_of(row, line) for row in measured for line in _told(row, results)]
    yield from _fold(f"Warnings ({len(warnings)})", warnings)
    yield from _fold("What to try next", tries)
    yield from _fold("Each loader", facts)


def _told(row: Row, results: Results) -> Iterator[str]:
    yield from row_facts(row, results)
    if row.verdict is not None:
        yield f"{row.verdict.bottleneck}: {row.verdict.sentence}"
        yield from epoch_notes(row.verdict)


def _of(row: Row, line: str) -> str:
    return f"**{escaped(row.loader)}**: {escaped(line)}"


def _entries(facts: Mapping[str, Any]) -> Iterator[str]:
    """A line for each name; what has names of its own, or is a list, is told on one line."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            told = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, (list, tuple)):
            told = ", ".join(map(str, value))
        else:
            told = str(value)
        if value is not None and told:
            yield f"{escaped(name)}: {escaped(told)}"


def _list(texts: Iterable[str]) -> Iterator[Section]:
    """A list; nothing of no texts."""
    section = bullets(texts)
    if section.lines:
        yield section


def _fold(summary: str, texts: Iterable[str]) -> Iterator[Section]:
    yield from (folded(summary, section) for section in _list(texts))


def _flat(headings: Iterable[str]) -> list[str]:
    """Headings of the terminal's table, whose lines are broken."""
    return [heading.replace("\n", " ") for heading in headings]
