"""What limits a run and what to try next, what to be wary of, and what there is to say of each loader."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from throughput.reports.cells import (
    ANSWERING,
    NOTHING,
    TRAINING,
    answers,
    is_evaluation,
    percent,
    proof,
    stamps,
)
from throughput.reports.headline import best_of, facts, listed
from throughput.reports.markup import Html, Part, bullets, folded, joined, table, tag
from throughput.reports.measures import phases
from throughput.reports.notes import epoch_notes, row_facts
from throughput.reports.numbers import interval, known, per_second, plural, with_interval
from throughput.reports.records import gate_of
from throughput.reports.tellable import Run
from throughput.results import PhaseName, Row, Verdict

_DOUBTS = ("NOT COMPARABLE", "MISCOUNTED", "not certified", "not looked at")
"""How a note begins that says why a row is less than it seems."""
_NO_REASON = "no reason was given"
_MOST_WARNINGS = 6
"""More of them are folded, so that they do not hide what they are about."""


def verdict_of(run: Run, place: str, level: int) -> Html:
    """What a gate decided, or the figures, what limits the best row and what to try; what to be wary of."""
    # What a gate measured are base and head of tests: which of them is the fastest means nothing.
    best = None if run.results.gate else best_of(run)
    parts: list[Part] = [gate_of(run, place, level)]
    figures = [
        tag("div", tag("dt", fact.what), tag("dd", tag("b", fact.figure), tag("span", fact.more)))
        for fact in (facts(run) if best is not None else ())
    ]
    if figures:
        parts.append(tag("dl", *figures, class_="facts"))
    if best is not None and best[1].verdict is not None:
        name, row = best
        assert row.verdict is not None
        parts.append(tag(f"h{level}", f"What limits {name}", id=f"{place}-limit"))
        parts.append(_limit(row.verdict))
        parts.append(_next(row.verdict, level, f"What to try next with {name}"))
    doubts, warnings = list(_doubts(run)), list(_warnings(run))
    if doubts or warnings:
        parts.append(tag(f"h{level}", "What to be wary of", id=f"{place}-wary"))
        parts.append(bullets(doubts, "wary"))
        told = bullets(warnings, "wary")
        parts.append(folded(_warned(run), told) if len(warnings) > _MOST_WARNINGS else told)
    return joined(parts)


def rows_of(run: Run, place: str, level: int) -> Html:
    """The table of all rows, and what there is to say of each."""
    if not run.rows:
        return Html()
    heading = tag(f"h{level}", "The loaders side by side", id=f"{place}-loaders")
    parts: list[Part] = [heading]
    if not all(is_evaluation(row) for _, row in run.rows):
        parts.append(_side_by_side(run))
    parts += [_told(name, row, run, level + 1) for name, row in run.rows]
    return tag("section", *parts, aria_labelledby=f"{place}-loaders")


def _limit(verdict: Verdict) -> Html:
    epochs = joined(tag("p", _sentence(line)) for line in epoch_notes(verdict))
    return joined([tag("p", tag("strong", verdict.bottleneck), f": {verdict.sentence}."), epochs])


def _next(verdict: Verdict, level: int, title: str) -> Html:
    """A row for each suggestion, the most promising first."""
    if not verdict.suggestions:
        return Html()
    checked = any(one.measured is not None for one in verdict.suggestions)
    rows = []
    for number, one in enumerate(verdict.suggestions, start=1):
        command = shlex.join(_arguments(one.options or {}))
        words = joined([one.text, tag("code", command) if command else None], " ")
        cells: list[Part] = [
            str(number),
            words,
            per_second(one.images_per_second),
            interval(one.low, one.high),
        ]
        if checked:
            cells.append("" if one.measured is None else with_interval(one.measured))
        rows.append(cells)
    headings = ["#", "try", "images/s predicted", "between"] + ["measured"] * checked
    return joined(
        [tag(f"h{level}", title), table(title, headings, rows, words={1}, quiet=True, numbered=True)],
    )


def _arguments(options: Mapping[str, str]) -> Iterator[str]:
    """Of the command line; what is only switched on takes no value there."""
    for name, value in options.items():
        yield f"--{name}"
        if value != "true":
            yield value


def _doubts(run: Run) -> Iterator[Html]:
    for name, row in run.rows:
        who = tag("b", name)
        if row.status != "ok":
            yield joined([who, f" {row.status}: {row.reason or _NO_REASON}"])
            continue
        for line in row_facts(row, run.results):
            if line.startswith(_DOUBTS):
                yield joined([who, f": {line}"])


def _warnings(run: Run) -> Iterator[Html]:
    return (joined([tag("b", name), f": {warning}"]) for name, row in run.rows for warning in row.warnings)


def _warned(run: Run) -> Html:
    """How many warnings there are, and of what, in place of a long list."""
    names = [name for name, row in run.rows if row.warnings]
    count = sum(len(row.warnings) for _, row in run.rows)
    return tag("b", f"{count} warnings cast doubt on the figures of {listed(names)}", class_="doubt")


def _side_by_side(run: Run) -> Html:
    columns = ANSWERING if answers(run.results) else TRAINING
    rows: list[list[Part]] = []
    for name, row in run.rows:
        if row.status == "ok":
            cells = [row.decode, *(cell(row) for cell in columns.values()), _proved(row)]
        else:
            cells = [row.status, *[None] * (len(columns) + 1)]
        stamped = [tag("span", stamp, class_="doubt") for stamp in stamps(row)]
        rows.append([joined([name, *stamped], " "), *cells])
    headings = ("loader", "decode", *(_heading(heading) for heading in columns), "same work")
    words = {1, len(headings) - 1, len(headings) - 2}
    return table("All loaders, the fastest sound one first", headings, rows, words=words, quiet=True)


def _proved(row: Row) -> str:
    """What speaks for the row; what speaks against it is stamped on its name."""
    return ", ".join(word for word in proof(row).split(", ") if word not in stamps(row)) or NOTHING


def _heading(text: str) -> str:
    """On one line, or on several that do not begin within a name such as top-1."""
    return text.replace("\n", " ").replace("-", "\N{NON-BREAKING HYPHEN}")


def _told(name: str, row: Row, run: Run, level: int) -> Html:
    """All that there is to say of a row, folded."""
    if row.status != "ok":
        return folded(joined([tag("b", name), row.status], ": "), tag("p", row.reason or _NO_REASON))
    lines = [_sentence(line) for line in row_facts(row, run.results)]
    lines += [_sentence(f"{run.phase_names[phase]}: {told}") for phase, told in _beginnings(row)]
    if row.options:
        lines.append("Options: " + ", ".join(f"{key} {value}" for key, value in row.options.items()) + ".")
    parts: list[Part] = [bullets(lines)]
    if row.verdict is not None:
        parts += [_limit(row.verdict), _next(row.verdict, level, f"What to try next with {name}")]
    short = [*stamps(row), *([row.verdict.bottleneck] if row.verdict is not None else [])]
    short += [plural(len(row.warnings), "warning")] if row.warnings else []
    return folded(joined([tag("b", name), *([", ".join(short)] if short else [])], ": "), *parts)


def _beginnings(row: Row) -> Iterator[tuple[PhaseName, str]]:
    """How long it took until there was a batch, phase by phase."""
    for name, phase in phases(row).items():
        told = []
        if known(phase.first_batch_seconds):
            told.append(f"{phase.first_batch_seconds:.2f} s to the first batch")
        if known(phase.epoch_gap_seconds):
            told.append(f"{1e3 * phase.epoch_gap_seconds:,.1f} ms at the start of an epoch")
        if name == "train":
            told.append(f"waiting {percent(phase.wait_fraction)} of the time")
        if told:
            yield name, ", ".join(told)


def _sentence(line: str) -> str:
    """With a capital, unless it begins with a name, and a full stop."""
    return f"{line[:1].upper()}{line[1:]}."
