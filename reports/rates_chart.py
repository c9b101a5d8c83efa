"""Loader alone, model alone and both together: bars with their intervals, the model's rate as a ceiling."""

from __future__ import annotations

from collections.abc import Iterator

from throughput.reports.cells import stamps
from throughput.reports.drawing import (
    PHASE_COLOURS,
    RESPONSIVE,
    Chart,
    Figure,
    Key,
    Spec,
    halo_and_text,
    named_colours,
)
from throughput.reports.markup import Html, table
from throughput.reports.measures import phases
from throughput.reports.numbers import interval, known, per_second, with_interval
from throughput.reports.tellable import Run
from throughput.results import PhaseName, Row

_LABEL_PIXELS = 58
_ROW_PIXELS = 19
_ROOM_FOR_A_NUMBER = 1.2
_WIDEST_WHISKER = 1.5
"""Times the largest rate; an interval of two passes that differ may reach to thousands of times that."""


def rates_figure(run: Run) -> Figure | None:
    """None where nothing was measured."""
    if not run.measured:
        return None
    names = run.phase_names
    there = {phase for _, row in run.measured for phase in phases(row)}
    ceiling = any(row.model is not None and len(phases(row)) > 1 for _, row in run.measured)
    keys = [Key(_explained(phase, run), PHASE_COLOURS[phase]) for phase in names if phase in there]
    if ceiling:
        keys.append(Key(f"the ceiling: the {names['model']}'s own rate", "var(--ink)", "rule"))
    return Figure(
        "rates",
        "How fast",
        (Chart(_spec(run), _described(run)),),
        tuple(keys),
        "Images per second, the median of the passes; the fine lines are 95 % intervals, which a single pass "
        "has not, and one without an end is wider than the chart. Both together cannot be faster than the "
        "slower of the two.",
        _numbers(run),
    )


def _explained(phase: PhaseName, run: Run) -> str:
    return {
        "load": "the loader alone",
        "model": f"the {run.phase_names['model']} alone",
        "train": f"both together ({run.activity})",
    }[phase]


def _described(run: Run) -> str:
    def rates(row: Row) -> str:
        return ", ".join(
            f"{run.phase_names[phase]} {with_interval(found.images_per_second)}"
            for phase, found in phases(row).items()
        )

    each = "; ".join(f"{name}: {rates(row)}" for name, row in run.measured)
    return f"Bars of images per second, with 95 % intervals. {each}."


def _numbers(run: Run) -> Html:
    rows = [
        (
            name,
            run.phase_names[phase],
            per_second(found.images_per_second.median),
            interval(found.images_per_second.low, found.images_per_second.high),
            str(len(found.passes)),
        )
        for name, row in run.measured
        for phase, found in phases(row).items()
    ]
    headings = ("loader", "measured", "images/s", "95 % interval", "passes")
    return table("Images per second", headings, rows, words={1})


def _spec(run: Run) -> Spec:
    places = list(_places(run))
    bars = [bar for number, (_, row) in enumerate(run.measured) for bar in _bars(number, row, run)]
    most = _WIDEST_WHISKER * max(bar["rate"] for bar in bars) or 1.0
    for bar in bars:
        bar["to"] = None if bar["high"] is None else min(bar["high"], most)
        bar["end"] = max(bar["rate"], bar["to"] or 0)
    x_end = _ROOM_FOR_A_NUMBER * max(bar["end"] for bar in bars) or 1.0
    y: Spec = {
        "field": "place",
        "type": "nominal",
        "scale": {"domain": places, "paddingInner": 0.18, "paddingOuter": 0.1},
        "axis": {
            "title": None,
            "labelExpr": "split(datum.value, '~')[1]",
            "labelOverlap": False,
        },
    }
    x: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, x_end], "nice": False},
        "axis": {"title": "images per second", "tickCount": 5},
    }
    return {
        **RESPONSIVE,
        "height": _ROW_PIXELS * len(places),
        "data": {"values": bars},
        "layer": [
            {
                "mark": "bar",
                "encoding": {
                    "x": x | {"field": "rate"},
                    "y": y,
                    "color": named_colours("measured", _colours(run)),
                    "tooltip": _TOOLTIP,
                },
            },
            {
                "data": {"values": list(_ceilings(run))},
                "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.25},
                "encoding": {
                    "x": x | {"field": "ceiling"},
                    "y": y | {"field": "top", "bandPosition": 0},
                    "y2": {"field": "bottom", "bandPosition": 1},
                },
            },
            *_whiskers(x, y),
            *halo_and_text(
                {"type": "text", "align": "left", "dx": 6, "fontWeight": 600, "fill": "var(--ink)"},
                {"x": x | {"field": "end"}, "y": y, "text": {"field": "label"}},
            ),
            {
                "data": {"values": list(_headings(run))},
                "mark": {
                    "type": "text",
                    "align": "left",
                    "dx": -_LABEL_PIXELS,
                    "dy": 3,
                    "fontSize": 13,
                    "fontWeight": 600,
                    "fill": "var(--ink)",
                    "limit": {"expr": f"width + {_LABEL_PIXELS}"},
                },
                "encoding": {"x": {"value": 0}, "y": y, "text": {"field": "name"}},
            },
        ],
    }


_TOOLTIP = [
    {"field": "loader", "type": "nominal"},
    {"field": "measured", "type": "nominal"},
    {"field": "told", "type": "nominal", "title": "images/s"},
]


def _colours(run: Run) -> dict[str, str]:
    return {run.phase_names[phase]: colour for phase, colour in PHASE_COLOURS.items()}


def _whiskers(x: Spec, y: Spec) -> list[Spec]:
    """The intervals, without an end where it lies beyond the chart; paper parts them from bars."""
    low, high = x | {"field": "low"}, x | {"field": "to"}
    layers = []
    for colour, pixels in (("var(--paper)", 3.5), ("var(--ink)", 1.25)):
        line = {"type": "rule", "strokeWidth": pixels, "color": colour}
        cap = {"type": "tick", "size": 6 + pixels, "thickness": pixels, "color": colour}
        layers += [
            _where("datum.to != null", line, {"x": low, "x2": {"field": "to"}, "y": y}),
            _where("datum.to != null", cap, {"x": low, "y": y}),
            _where("datum.to != null && datum.to == datum.high", cap, {"x": high, "y": y}),
        ]
    return layers


def _where(condition: str, mark: Spec, encoding: Spec) -> Spec:
    """A layer of some of the data."""
    return {"transform": [{"filter": condition}], "mark": mark, "encoding": encoding}


def _places(run: Run) -> Iterator[str]:
    """From the top: of each loader one for its name, and one for each bar, labelled by what follows ``~``."""
    for number, (_, row) in enumerate(run.measured):
        yield f"{number}~"
        yield from (f"{number}~{run.phase_names[phase]}" for phase in phases(row))


def _headings(run: Run) -> Iterator[Spec]:
    """The loaders, with what makes a row less than it seems."""
    for number, (name, row) in enumerate(run.measured):
        yield {"place": f"{number}~", "name": ", ".join([name, *stamps(row)])}


def _bars(number: int, row: Row, run: Run) -> Iterator[Spec]:
    for phase, found in phases(row).items():
        rate = found.images_per_second
        spread = known(rate.low) and known(rate.high)
        yield {
            "place": f"{number}~{run.phase_names[phase]}",
            "loader": run.measured[number][0],
            "measured": run.phase_names[phase],
            "rate": rate.median,
            "low": rate.low if spread else None,
            "high": rate.high if spread else None,
            "label": per_second(rate.median),
            "told": with_interval(rate),
        }


def _ceilings(run: Run) -> Iterator[Spec]:
    for number, (_, row) in enumerate(run.measured):
        if row.model is not None and len(phases(row)) > 1:
            labels = [run.phase_names[phase] for phase in phases(row)]
            yield {
                "ceiling": row.model.images_per_second.median,
                "top": f"{number}~{labels[0]}",
                "bottom": f"{number}~{labels[-1]}",
            }
