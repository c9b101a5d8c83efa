"""``html``: one file that opens offline, with the verdict on top, charts, and every number behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from throughput.contracts import Report
from throughput.reports.answers import evaluations_of
from throughput.reports.cells import title
from throughput.reports.drawing import Chart, Figure, drawn
from throughput.reports.headline import headline
from throughput.reports.learning_chart import learning_figures
from throughput.reports.markup import Html, Part, joined, tag
from throughput.reports.page import page
from throughput.reports.rates_chart import rates_figure
from throughput.reports.records import comparisons_of, records_of
from throughput.reports.scaling_chart import scaling_figures
from throughput.reports.stages_chart import stages_figure
from throughput.reports.tellable import Run, tellable
from throughput.reports.timeline_chart import timeline_figure
from throughput.reports.verdicts import rows_of, verdict_of
from throughput.reports.waits_chart import latencies_figure, waits_figure
from throughput.results import Results


class HtmlReport(Report):
    """A page that asks for nothing: style, scripts and data are in it."""

    about = "one page with charts, for people; opens offline"

    def render(self, runs: Sequence[Results]) -> str:
        """A whole HTML document. Raises UnknownNameError where vl-convert-python is missing."""
        told = [tellable(results) for results in runs]
        drawings = _Drawings()
        if len(told) == 1:
            heading, body = headline(told[0]), _run(told[0], 1, 2, drawings)
        else:
            heading, body = f"{len(told):,} runs side by side", _several(told, drawings)
        return page(heading, _about(told), body, [chart.spec for chart in drawings.charts])


@dataclass
class _Drawings:
    """The charts of the page so far: each is found by its number."""

    charts: list[Chart] = field(default_factory=list)

    def add(self, figure: Figure, place: str, level: int) -> Html:
        """The figure as markup."""
        first = len(self.charts)
        self.charts += figure.charts
        return drawn(figure, place, first, level)


def _about(runs: Sequence[Run]) -> str:
    """When it was made, and of what."""
    if len(runs) != 1:
        days = sorted({run.results.created[:10] for run in runs})
        return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""
    return _of(runs[0])


def _of(run: Run) -> str:
    """What was measured, and when."""
    told, created = title(run.results), run.results.created
    try:
        when = datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M %Z")
    except ValueError:
        when = created
    return f"{told}. Measured {when}." if told else f"Measured {when}."


def _several(runs: Sequence[Run], drawings: _Drawings) -> Html:
    """Every run's outcome with a way to it, what differs between them as lines, and each run."""
    outcomes = [
        tag("li", tag("a", headline(run), href=f"#run-{number}"), tag("span", title(run.results)))
        for number, run in enumerate(runs, start=1)
    ]
    scaling = [drawings.add(figure, "runs", 2) for figure in scaling_figures(runs)]
    parts: list[Part] = [tag("ol", *outcomes, class_="outcomes"), *scaling]
    for number, run in enumerate(runs, start=1):
        parts.append(
            tag(
                "article",
                tag(
                    "h2", tag("small", f"Run {number} of {len(runs)}"), " ", headline(run), id=f"run-{number}"
                ),
                tag("p", _of(run), class_="about"),
                _run(run, number, 3, drawings),
                aria_labelledby=f"run-{number}",
            )
        )
    return joined(parts)


def _run(run: Run, number: int, level: int, drawings: _Drawings) -> Html:
    place = f"run-{number}"
    return joined(
        [
            verdict_of(run, place, level),
            rows_of(run, place, level),
            *(drawings.add(figure, place, level) for figure in _figures(run)),
            comparisons_of(run, place, level),
            evaluations_of(run),
            records_of(run, place, level),
        ]
    )


def _figures(run: Run) -> Iterator[Figure]:
    """Those that the run has something to show in."""
    found = (
        rates_figure(run),
        timeline_figure(run),
        waits_figure(run),
        latencies_figure(run),
        stages_figure(run),
    )
    yield from (figure for figure in found if figure is not None)
    yield from learning_figures(run)
