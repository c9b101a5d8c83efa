"""What went on when: use of CPU and GPU, and the waiting of the model, over the seconds of a run."""

from __future__ import annotations

from collections.abc import Sequence

from throughput.reports.cells import percent
from throughput.reports.drawing import (
    RESPONSIVE,
    Chart,
    Figure,
    Key,
    Spec,
    named_colours,
    series_colours,
    series_keys,
)
from throughput.reports.markup import Html, table
from throughput.reports.moments import History, Moment, history
from throughput.reports.numbers import decimal
from throughput.reports.tellable import Run
from throughput.results import PhaseName

_PANEL_PIXELS = 104
_TURN_PIXELS = 14
_BANDS: dict[PhaseName, str] = {
    "load": "var(--band-load)",
    "model": "var(--band-model)",
    "train": "var(--band-train)",
}
"""Greys: colours tell the loaders apart here."""


def timeline_figure(run: Run) -> Figure | None:
    """None where no timeline was recorded."""
    found = history(run)
    if found is None:
        return None
    there = {one.series for one in found.stretches} | {one.series for one in found.cpu}
    names = [name for name in run.names if name in there]
    model = run.phase_names["model"]
    panels = [
        ("CPU: share of the usable cores", found.cpu),
        ("GPU: share of the time in which it computed", found.gpu),
        (f"Waiting: share of the time in which the {model} had no batch, while both ran", found.waiting),
    ]
    shown = [(title, moments) for title, moments in panels if moments]
    charts = [
        Chart(
            _spec(found, moments, run, last=place == len(shown) - 1),
            _described(title, moments, names, found),
            title,
        )
        for place, (title, moments) in enumerate(shown)
    ]
    if found.stretches:
        charts.insert(0, _turns(found, names, run, last=not shown))
    bands = [
        Key(f"measuring: {run.phase_names[phase]}", colour)
        for phase, colour in _BANDS.items()
        if any(one.phase == phase for one in found.stretches)
    ]
    unseen = "" if found.gpu else " Use of a GPU was not measured."
    return Figure(
        "timeline",
        "What went on when",
        tuple(charts),
        (*series_keys(run.names, names, dashed=False), *bands),
        "Seconds from the start of the run. Loaders take turns, in rounds; what is tinted is a measured "
        "pass, and what lies between is start-up and warm-up. "
        f"Waiting is averaged over {found.bin_seconds:.2g} s.{unseen}",
        _numbers(found, run),
    )


def _turns(found: History, names: list[str], run: Run, *, last: bool) -> Chart:
    """Which loader was measured when: a line for each."""
    bars = [
        {
            "series": one.series,
            "place": f"{names.index(one.series)}~bar",
            "start": one.start_seconds,
            "end": one.end_seconds,
        }
        for one in found.stretches
    ]
    labels = [{"place": f"{number}~", "name": name} for number, name in enumerate(names)]
    y: Spec = {
        "field": "place",
        "type": "nominal",
        "scale": {
            "domain": [place for number in range(len(names)) for place in (f"{number}~", f"{number}~bar")],
            "paddingInner": 0.1,
            "paddingOuter": 0,
        },
        # Labels that nobody sees keep as much room as those of the charts below.
        "axis": {"title": None, "labelExpr": "'100%'", "labelOpacity": 0, "grid": False},
    }
    spec = {
        **RESPONSIVE,
        "height": 2 * _TURN_PIXELS * len(names),
        "layer": [
            _bands(found, run, last=last),
            {
                "data": {"values": bars},
                "mark": {"type": "bar", "cornerRadius": 1, "height": {"band": 0.6}},
                "encoding": {
                    "x": _seconds(found, last=last) | {"field": "start"},
                    "x2": {"field": "end"},
                    "y": y,
                    "color": series_colours(run.names),
                },
            },
            {
                "data": {"values": labels},
                "mark": {
                    "type": "text",
                    "align": "left",
                    "dy": 2,
                    "fontWeight": 600,
                    "fill": "var(--ink)",
                    "limit": {"expr": "width"},
                },
                "encoding": {"x": {"value": 0}, "y": y, "text": {"field": "name"}},
            },
        ],
    }
    starts = "; ".join(
        f"{name} from "
        + ", ".join(f"{one.start_seconds:,.0f}" for one in found.stretches if one.series == name)
        + " s on"
        for name in names
        if any(one.series == name for one in found.stretches)
    )
    return Chart(spec, f"When each loader was measured: {starts}.", "Measured passes, loader by loader")


def _described(title: str, moments: Sequence[Moment], names: Sequence[str], found: History) -> str:
    means = []
    for name in names:
        values = [one.value for one in moments if one.series == name]
        if values:
            means.append(f"{name} {percent(sum(values) / len(values))}")
    return f"{title}, over {found.end_seconds:,.0f} s. In the mean over time: {', '.join(means)}."


def _bands(found: History, run: Run, *, last: bool) -> Spec:
    """A layer: the background of each pass."""
    values = [
        {"start": one.start_seconds, "end": one.end_seconds, "measured": run.phase_names[one.phase]}
        for one in found.stretches
    ]
    colours = {run.phase_names[phase]: colour for phase, colour in _BANDS.items()}
    return {
        "data": {"values": values},
        "mark": "rect",
        "encoding": {
            "x": _seconds(found, last=last) | {"field": "start"},
            "x2": {"field": "end"},
            "fill": named_colours("measured", colours),
        },
    }


def _seconds(found: History, *, last: bool) -> Spec:
    """The axis of time; only the last of several charts has its numbers."""
    return {
        "type": "quantitative",
        "scale": {"domain": [0, found.end_seconds or 1.0], "nice": False},
        "axis": {
            "title": "seconds" if last else None,
            "labels": last,
            "ticks": last,
            "tickCount": 6,
            "grid": False,
        },
    }


def _spec(found: History, moments: Sequence[Moment], run: Run, *, last: bool) -> Spec:
    x = _seconds(found, last=last)
    steps = moments is found.waiting
    return {
        **RESPONSIVE,
        "height": _PANEL_PIXELS,
        "layer": [
            _bands(found, run, last=last),
            {
                "data": {"values": [_value(one) for one in moments]},
                "mark": {
                    "type": "line",
                    "strokeWidth": 1.75,
                    "clip": True,
                    "interpolate": "step-after" if steps else "linear",
                },
                "encoding": {
                    "x": x | {"field": "seconds"},
                    "y": {
                        "field": "value",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1]},
                        "axis": {"title": None, "format": ".0%", "values": [0, 0.5, 1]},
                    },
                    "stroke": series_colours(run.names),
                    "detail": {"field": "segment"},
                },
            },
        ],
    }


def _value(one: Moment) -> Spec:
    """To a hundredth of a second and a thousandth of the whole: there may be thousands of them."""
    return {
        "series": one.series,
        "segment": one.segment,
        "seconds": round(one.seconds, 2),
        "value": round(one.value, 3),
    }


def _numbers(found: History, run: Run) -> Html:
    rows = [
        (
            one.series,
            run.phase_names[one.phase],
            decimal(one.start_seconds),
            decimal(one.end_seconds),
            percent(one.cpu_utilisation),
            percent(one.gpu_utilisation),
            percent(one.wait_fraction) if one.phase == "train" else None,
        )
        for one in found.stretches
    ]
    headings = ("loader", "measured", "from, s", "to, s", "CPU", "GPU", "waiting")
    return table("Every measured pass, in the order of time", headings, rows, words={1})
