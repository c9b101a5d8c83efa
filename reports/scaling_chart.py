"""Images per second over the number of workers, and over the size of a batch, of several runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from throughput.measure.plan import PHASES
from throughput.reports.drawing import (
    RESPONSIVE,
    Chart,
    Figure,
    Spec,
    series_colours,
    series_dashes,
    series_keys,
)
from throughput.reports.markup import Html, printable, table
from throughput.reports.measures import phases
from throughput.reports.numbers import interval, known, per_second, with_interval
from throughput.reports.tellable import Run
from throughput.results import PhaseName, Rate, Results, Row

_PIXELS = 240
_OVER: dict[str, str] = {"workers": "workers", "batch_size": "images in a batch"}
"""What of the work a line may run over, and what an axis calls it."""
_MACHINE = "machine"
_APART: dict[str, Callable[[str], str]] = {
    "workers": lambda value: f"{value} workers",
    "batch_size": lambda value: f"batch {value}",
    "model": str,
    "image_size": lambda value: f"{value} px",
    "compute_dtype": str,
    "device": str,
    "source": str,
    "cache": lambda value: f"cache {value}",
    "compile": lambda value: f"compile {value}",
    "augmentation": str,
    "phases": str,
    _MACHINE: str,
}
"""What of the work makes two lines of one loader, and how it is told."""


@dataclass(frozen=True)
class _Point:
    series: str
    over: int
    rate: Rate


def scaling_figures(runs: Sequence[Run]) -> list[Figure]:
    """One for each of workers and batch size in which runs differ, and for each phase that says how."""
    figures = []
    for name in _OVER:
        for phase in ("load", "train", "model") if name == "batch_size" else ("load", "train"):
            points = _points(runs, name, phase)
            if points:
                figures.append(_figure(name, phase, points, runs[0]))
    return figures


def _points(runs: Sequence[Run], name: str, phase: PhaseName) -> list[_Point]:
    """Of the lines that have two points or more; what is not sound has no place among them."""
    assert phase in PHASES
    labels = _labels([run.results.work | {_MACHINE: _machine(run.results)} for run in runs], name)
    own = _own_options(runs)
    found = []
    for run, label in zip(runs, labels, strict=True):
        value = run.results.work.get(name)
        if not isinstance(value, int):
            continue
        for series, row in run.measured:
            if row.is_sound and phase in phases(row):
                rate = phases(row)[phase].images_per_second
                found.append(_Point(f"{series}{label}{own(row)}", value, rate))
    lines: dict[str, set[int]] = {}
    for point in found:
        lines.setdefault(point.series, set()).add(point.over)
    kept = [point for point in found if len(lines[point.series]) > 1]
    return sorted(kept, key=lambda point: (point.series, point.over))


def _machine(results: Results) -> str:
    """By what makes a machine another one."""
    told = results.environment
    gpus = [str(gpu.get("name")) for gpu in told.get("gpus") or () if isinstance(gpu, Mapping)]
    return ", ".join([str(told.get("cpu_model")), f"{told.get('cores_usable')} cores", *gpus])


def _own_options(runs: Sequence[Run]) -> Callable[[Row], str]:
    """How to tell a row's own options, where those of its loader are not the same in all runs."""
    values: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        for _, row in run.measured:
            for option, value in row.options.items():
                values.setdefault((row.loader, option), set()).add(str(value))

    def told(row: Row) -> str:
        differing = [one for one in row.options if len(values[row.loader, one]) > 1]
        return "".join(f", {printable(one)} {printable(str(row.options[one]))}" for one in differing)

    return told


def _labels(works: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """What tells the lines of each run from those of others, beside ``name``."""
    apart = [other for other in _APART if other != name and len({str(work.get(other)) for work in works}) > 1]
    return [
        "".join(f", {printable(_APART[other](str(work.get(other))))}" for other in apart) for work in works
    ]


def _figure(name: str, phase: PhaseName, points: Sequence[_Point], run: Run) -> Figure:
    series = list(dict.fromkeys(point.series for point in points))
    what = {
        "load": "the loader alone",
        "model": f"the {run.phase_names['model']} alone",
        "train": f"both together ({run.activity})",
    }[phase]
    told = "; ".join(
        f"{one}: "
        + ", ".join(f"{point.over} {with_interval(point.rate)}" for point in points if point.series == one)
        for one in series
    )
    axis = _OVER[name]
    return Figure(
        f"scaling-{name.replace('_', '-')}-{phase}",
        f"{'Over workers' if name == 'workers' else 'Over batch size'}: {what}",
        (Chart(_spec(points, series, axis), f"Images per second over {axis}, {what}. {told}."),),
        series_keys(series, series),
        f"Images per second, {what}, over {axis}: medians with their 95 % intervals, each run for itself. "
        "Rows that are not comparable or miscounted are left out.",
        _numbers(points, axis),
    )


def _numbers(points: Sequence[_Point], axis: str) -> Html:
    rows = [
        (
            point.series,
            f"{point.over:,}",
            per_second(point.rate.median),
            interval(point.rate.low, point.rate.high),
        )
        for point in points
    ]
    return table(f"Images per second over {axis}", ("loader", axis, "images/s", "95 % interval"), rows)


def _spec(points: Sequence[_Point], series: list[str], axis: str) -> Spec:
    places = sorted({point.over for point in points})
    doubling = places[-1] >= 8 * places[0] > 0
    largest = max(point.rate.median for point in points)
    values: list[Spec] = [
        {
            "series": point.series,
            "over": point.over,
            "rate": point.rate.median,
            "low": point.rate.low if known(point.rate.low) else None,
            "high": point.rate.high if known(point.rate.high) else None,
            "told": with_interval(point.rate),
        }
        for point in points
    ]
    x: Spec = {
        "field": "over",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "nice": False, "padding": 12}
        if doubling
        else {"zero": False, "nice": False, "padding": 12},
        "axis": {"title": axis, "values": places, "format": ",d", "grid": False},
    }
    highest = min(max(value["high"] or 0 for value in values), 1.5 * largest)
    y: Spec = {
        "field": "rate",
        "type": "quantitative",
        "scale": {"domain": [0, 1.05 * max(largest, highest) or 1.0], "nice": True},
        "axis": {
            "title": None,
            "format": ",.0f" if largest >= 10 else "~g",
        },
    }
    stroke = series_colours(series)
    spread = [value for value in values if value["low"] is not None and value["high"] is not None]
    return {
        **RESPONSIVE,
        "height": _PIXELS,
        "data": {"values": values},
        "layer": [
            {
                "data": {"values": spread},
                "mark": {"type": "rule", "strokeWidth": 1.5, "clip": True},
                "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": stroke},
            },
            {
                "mark": {"type": "line", "strokeWidth": 1.75},
                "encoding": {"x": x, "y": y, "stroke": stroke, "strokeDash": series_dashes(series)},
            },
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 60,
                    "opacity": 1,
                    "stroke": "var(--paper)",
                },
                "encoding": {
                    "x": x,
                    "y": y,
                    "fill": stroke,
                    "tooltip": [
                        {"field": "series", "type": "nominal", "title": "loader"},
                        {"field": "over", "type": "quantitative", "title": axis},
                        {"field": "told", "type": "nominal", "title": "images/s"},
                    ],
                },
            },
        ],
    }
