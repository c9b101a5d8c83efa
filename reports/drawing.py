"""Charts and what stands around them: title, key, words, and the numbers for whoever cannot see or run them.

A specification is Vega-Lite in plain dictionaries. Its colours are names of the page's style
(``var(--...)``), so that light, dark and paper follow without drawing anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from throughput.reports.markup import Html, Part, folded, joined, tag
from throughput.results import PhaseName

Spec = dict[str, Any]
Shape = Literal["bar", "line", "rule"]

COLOURS = 8
"""Series that the style has a colour for; beyond that they come again, with other dashes."""
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (6, 3), (2, 2), (9, 3, 2, 3))
"""Series are told apart without colours too."""

PHASE_COLOURS: dict[PhaseName, str] = {
    "load": "var(--alone)",
    "model": "var(--model)",
    "train": "var(--both)",
}

CONFIG: Spec = {
    "background": None,
    "padding": 2,
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
    # The element around a chart describes it; a description of each mark would be read out again.
    "aria": False,
    "view": {"stroke": None},
    "bar": {"cornerRadiusEnd": 1},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--grid)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelPadding": 6,
        "labelOverlap": True,
    },
    "axisX": {"titleAnchor": "start"},
    "axisY": {"domain": False, "ticks": False},
    "text": {"fontSize": 12},
    "rule": {"color": "var(--ink)"},
}
"""Of all charts."""

RESPONSIVE: Spec = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
"""As wide as the page has room for, at any time; as high as is asked for, and an axis more."""


@dataclass(frozen=True)
class Key:
    """What a colour stands for. dash: its place in DASHES, of a line."""

    text: str
    colour: str
    shape: Shape = "bar"
    dash: int = 0


@dataclass(frozen=True)
class Chart:
    """One drawing. description: what it shows, in words. title: where a figure has several."""

    spec: Spec
    description: str
    title: str | None = None


@dataclass(frozen=True)
class Figure:
    """Charts that belong together. caption: how to read them. numbers: what they are drawn from."""

    name: str
    title: str
    charts: tuple[Chart, ...]
    keys: tuple[Key, ...]
    caption: Part
    numbers: Html


def series_colour(place: int) -> str:
    """Of the series at that place."""
    return f"var(--series-{place % COLOURS + 1})"


def series_dash(place: int) -> int:
    """Its place in DASHES: no colour comes again with the same dashes before all have been used."""
    return (place + place // COLOURS) % len(DASHES)


def series_keys(names: Sequence[str], shown: Sequence[str], *, dashed: bool = True) -> tuple[Key, ...]:
    """A key for each series that is shown, of all ``names``: one has the same colour in every figure."""
    return tuple(
        Key(name, series_colour(place), "line", series_dash(place) if dashed else 0)
        for place, name in enumerate(names)
        if name in shown
    )


def series_colours(names: Sequence[str]) -> Spec:
    """The channel of a series' colour."""
    return named_colours("series", dict(zip(names, map(series_colour, range(len(names))), strict=True)))


def named_colours(field: str, colours: dict[str, str]) -> Spec:
    """The channel of a field whose values have these colours."""
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def series_dashes(names: Sequence[str]) -> Spec:
    """The channel of a series' dashes."""
    dashes = [list(DASHES[series_dash(place)]) for place in range(len(names))]
    scale = {"domain": list(names), "range": dashes}
    return {"field": "series", "type": "nominal", "scale": scale, "legend": None}


def halo_and_text(mark: Spec, encoding: Spec) -> list[Spec]:
    """Two layers: text that stays legible over lines and bars, for the paper shows around it."""
    halo = {"stroke": "var(--paper)", "strokeWidth": 4, "strokeJoin": "round"}
    return [{"mark": mark | halo, "encoding": encoding}, {"mark": mark, "encoding": encoding}]


def drawn(figure: Figure, place: str, first_chart: int, level: int) -> Html:
    """A figure as markup.

    place: of the page, a prefix that makes names in it differ. first_chart: number of its first chart among
    all of the page. level: of its heading.
    """
    name = f"{place}-{figure.name}"
    keys = [tag("li", _swatch(key), key.text) for key in figure.keys]
    return tag(
        "section",
        tag(f"h{level}", figure.title, id=name),
        tag(
            "figure",
            tag("ul", *keys, class_="key", aria_label="Key") if keys else None,
            *(_panel(chart, first_chart + number) for number, chart in enumerate(figure.charts)),
            tag("figcaption", figure.caption),
        ),
        folded("The numbers", figure.numbers),
        aria_labelledby=name,
    )


def _panel(chart: Chart, number: int) -> Html:
    title = None if chart.title is None else tag("p", chart.title, class_="panel")
    canvas = tag("div", data_chart=number)
    return joined([title, tag("div", canvas, class_="chart", role="img", aria_label=chart.description)])


def _swatch(key: Key) -> Html:
    """A small picture of the mark that the key explains."""
    if key.shape == "bar":
        mark = tag("rect", x=3, y=1, width=16, height=10, rx=1, fill="currentColor", stroke="var(--line)")
    else:
        dashes = (4, 3) if key.shape == "rule" else DASHES[key.dash] if key.dash else ()
        pattern = " ".join(map(str, dashes)) or None
        line: dict[str, str | int] = {
            "x1": 0,
            "y1": 6,
            "x2": 22,
            "y2": 6,
            "stroke": "currentColor",
            "stroke_width": 2,
        }
        mark = tag("line", **line, stroke_dasharray=pattern)
    return tag(
        "svg", mark, width=22, height=12, aria_hidden="true", focusable="false", style=f"color: {key.colour}"
    )
