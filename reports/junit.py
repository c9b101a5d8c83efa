"""``junit``: JUnit XML, a test case for each loader, for what shows test results in a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from throughput.contracts import Report
from throughput.reports.cells import one_line, title
from throughput.reports.measures import (
    Figures,
    known,
    phase_figures,
    phases,
    row_figures,
    run_figures,
    seconds,
)
from throughput.reports.notes import row_notes
from throughput.results import GateDecision, Results, Row

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write."""


@dataclass(frozen=True)
class _Outcome:
    """Why a case did not pass. element: failure, error or skipped. kind: its type, which skipped has not."""

    element: str
    kind: str | None
    message: str


@dataclass(frozen=True)
class _Case:
    """A test case. outcome: None where it passed. out, err: lines that were said of it."""

    name: str
    classname: str
    seconds: float
    figures: Figures
    outcome: _Outcome | None = None
    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()

    def is_a(self, element: str) -> bool:
        """Whether it ended so."""
        return self.outcome is not None and self.outcome.element == element


class JunitReport(Report):
    """A suite for each run and in it a case for each loader, or for each test of a gate.

    A case fails where its loader did other work or was miscounted, or where the gate found it slower; it is
    an error where nothing came of it. Its figures are properties, as many readers of JUnit XML take them.
    """

    about = "a test case for each loader, for what shows test results in a CI job"

    def render(self, runs: Sequence[Results]) -> str:
        """XML 1.0 in UTF-8; characters that it does not allow are replaced."""
        suites = [(results, list(_cases(results))) for results in runs]
        root = ElementTree.Element("testsuites", name="throughput")
        _count(root, [case for _, cases in suites for case in cases])
        for results, cases in suites:
            _suite(root, results, cases)
        ElementTree.indent(root)
        return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _cases(results: Results) -> Iterator[_Case]:
    if results.gate:
        for decision in results.gate:
            yield _decided(decision, results)
    else:
        for row in results.rows:
            yield _measured(row, results)


def _measured(row: Row, results: Results) -> _Case:
    figures = row_figures(row)
    for name, phase in phases(row).items():
        figures |= {f"{name}_{key}": value for key, value in phase_figures(row, name, phase).items()}
    notes = tuple(row_notes(row, results))
    return _Case(
        row.loader, _activity(results), seconds(row), figures, _outcome(row, notes), notes, row.warnings
    )


def _outcome(row: Row, notes: Sequence[str]) -> _Outcome | None:
    reason = row.reason or "no reason was given"
    if row.status == "skipped":
        return _Outcome("skipped", None, reason)
    if row.status == "failed":
        return _Outcome("error", "bad input" if row.bad_input else "failed", reason)
    if row.is_sound:
        return None
    told = "; ".join(note for note in notes if note.startswith(("NOT COMPARABLE", "MISCOUNTED")))
    counted = row.ledger is None or row.ledger.exact
    return _Outcome("failure", "not comparable" if counted else "miscounted", told)


def _decided(one: GateDecision, results: Results) -> _Case:
    ends = {"slower": "failure", "failed": "error", "undecided": "skipped"}
    reason = f"{one.decision}: {one.reason}" if one.reason is not None else one.decision
    if one.ratio is not None:
        reason += f"; head / base {one.ratio:.3f}, {one.least_ratio:g} or more is wanted"
    figures = {
        "decision": one.decision,
        "reason": one.reason,
        "obstacle": one.obstacle,
        "loader": one.loader,
        "phase": one.phase,
        "base_images_per_second": one.base,
        "head_images_per_second": one.head,
        "ratio": one.ratio,
        "ratio_low": one.low,
        "ratio_high": one.high,
        "least_ratio": one.least_ratio,
        "confidence": one.confidence,
        "pairs": one.pairs,
    }
    # A run is of one test as a rule; else its rows tell whose they are.
    only = len(results.gate) == 1
    sides = [row for row in results.rows if only or row.loader.startswith(f"{one.test} (")]
    return _Case(
        one.test,
        "throughput.gate",
        sum(map(seconds, sides)),
        figures,
        _Outcome(ends[one.decision], one.decision, reason) if one.decision in ends else None,
        (reason,),
    )


def _activity(results: Results) -> str:
    """What was done, as a class of test cases."""
    trained = any(row.training is not None for row in results.rows)
    return f"throughput.{results.work.get('activity') or ('training' if trained else 'bench')}"


def _suite(root: ElementTree.Element, results: Results, cases: Sequence[_Case]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=_text(one_line(title(results)) or "throughput"))
    if (timestamp := _timestamp(results.created)) is not None:
        suite.set("timestamp", timestamp)
    _count(suite, cases)
    _properties(suite, run_figures(results) | {"command": results.command})
    for case in cases:
        _case(suite, case)


def _case(suite: ElementTree.Element, case: _Case) -> None:
    element = ElementTree.SubElement(
        suite, "testcase", classname=_text(case.classname), name=_text(case.name), time=f"{case.seconds:.3f}"
    )
    _properties(element, case.figures)
    if case.outcome is not None:
        outcome = ElementTree.SubElement(element, case.outcome.element)
        if case.outcome.kind is not None:
            outcome.set("type", case.outcome.kind)
        outcome.set("message", _text(one_line(case.outcome.message)))
        outcome.text = _text(case.outcome.message)
    for name, lines in (("system-out", case.out), ("system-err", case.err)):
        if lines:
            ElementTree.SubElement(element, name).text = _text("\n".join(lines))


def _count(element: ElementTree.Element, cases: Sequence[_Case]) -> None:
    element.set("tests", str(len(cases)))
    for attribute, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.is_a(outcome) for case in cases)))
    element.set("time", f"{sum(case.seconds for case in cases):.3f}")


def _properties(element: ElementTree.Element, figures: Figures) -> None:
    """Those that are known; an element without any is not valid everywhere."""
    if told := known(figures):
        properties = ElementTree.SubElement(element, "properties")
        for name, value in told.items():
            ElementTree.SubElement(properties, "property", name=name, value=_text(_value(value)))


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _timestamp(created: str) -> str | None:
    """In UTC and without saying so, as the schema wants it."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def _text(text: object) -> str:
    return _NOT_XML.sub("\ufffd", str(text))
