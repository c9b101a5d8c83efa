"""How long batches were waited for, and how long a session took for one: what share took at most how long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from throughput.reports.drawing import (
    RESPONSIVE,
    Chart,
    Figure,
    Spec,
    series_colours,
    series_dashes,
    series_keys,
)
from throughput.reports.markup import Html, table
from throughput.reports.numbers import decimal
from throughput.reports.tellable import Run
from throughput.results import Row

SHORTEST_MS = 0.01
"""A logarithmic axis has no zero: what is shorter is drawn here."""
_EVEN_POINTS = 150
_TAIL_POINTS = 50
_MARKED = (50, 99)
_TOLD = (50, 90, 99)
_PIXELS = 230
_MARGIN = 1.25
"""Left and right of what is drawn."""
_FEWEST_TICKS = 2


@dataclass(frozen=True)
class _Spread:
    """Sorted milliseconds of one row."""

    series: str
    milliseconds: tuple[float, ...]

    def percentile(self, share: int) -> float:
        """By nearest rank, as everywhere: the shortest that is no shorter than ``share`` per cent of them."""
        return self.milliseconds[-(-share * len(self.milliseconds) // 100) - 1]


def waits_figure(run: Run) -> Figure | None:
    """Waits for a batch while both ran together. None where they were not noted."""
    return _figure(
        run,
        _waits,
        "waits",
        "Waiting for a batch",
        "waited for a batch",
        "How long the model waited before each step, while both ran together: a loader that keeps up has a "
        "line at the left edge, and a stall shows as a tail to the right.",
    )


def latencies_figure(run: Run) -> Figure | None:
    """What the model alone took for a batch, until its answers were there. None in training."""
    return _figure(
        run,
        _steps,
        "latencies",
        "Latency of a batch",
        f"from a batch to its answers, {run.phase_names['model']} alone",
        "From handing a batch to the session to its answers, with batches that lay ready.",
    )


def _waits(row: Row) -> Iterable[float]:
    return (wait for one in (row.train.passes if row.train else ()) for wait in one.batch_wait_seconds)


def _steps(row: Row) -> Iterable[float]:
    return (step for one in (row.model.passes if row.model else ()) for step in one.batch_step_seconds)


def _figure(
    run: Run, seconds: Callable[[Row], Iterable[float]], name: str, title: str, what: str, caption: str
) -> Figure | None:
    spreads = []
    for series, row in run.measured:
        found = sorted(1e3 * one for one in seconds(row))
        if found:
            spreads.append(_Spread(series, tuple(found)))
    if not spreads:
        return None
    short = any(one.milliseconds[0] < SHORTEST_MS for one in spreads)
    floor = f" What took less than {SHORTEST_MS:g} ms is drawn there." if short else ""
    described = "; ".join(
        f"{one.series}: half within {decimal(one.percentile(50))} ms, "
        f"99 % within {decimal(one.percentile(99))} ms"
        for one in spreads
    )
    return Figure(
        name,
        title,
        (Chart(_spec(spreads, run.names, what), f"Milliseconds {what}, as cumulative shares. {described}."),),
        series_keys(run.names, [one.series for one in spreads]),
        f"{caption} Dots mark the median and the 99th percentile.{floor}",
        _numbers(spreads, f"Milliseconds {what}"),
    )


def _points(spread: _Spread) -> list[Spec]:
    """The share of batches that took so long at most; of many batches some, and more of the longest."""
    count = len(spread.milliseconds)
    even = (round(place * (count - 1) / _EVEN_POINTS) for place in range(_EVEN_POINTS + 1))
    ranks = sorted({*even, *range(max(0, count - _TAIL_POINTS), count)})
    points = [(spread.milliseconds[rank], (rank + 1) / count) for rank in ranks]
    return [
        {"series": spread.series, "ms": _drawn(ms), "share": round(share, 5)}
        for ms, share in [(points[0][0], 0.0), *points]
    ]


def _drawn(milliseconds: float) -> float:
    return round(max(milliseconds, SHORTEST_MS), 4)


def _spec(spreads: Sequence[_Spread], names: list[str], what: str) -> Spec:
    low = min(_drawn(one.milliseconds[0]) for one in spreads) / _MARGIN
    high = max(_drawn(one.milliseconds[-1]) for one in spreads) * _MARGIN
    marked = [
        {"series": one.series, "ms": _drawn(one.percentile(share)), "share": share / 100, "p": f"p{share}",
         "told": f"{decimal(one.percentile(share))} ms"}
        for one in spreads
        for share in _MARKED
    ]  # fmt: skip
    x: Spec = {
        "field": "ms",
        "type": "quantitative",
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"title": f"milliseconds {what}", "format": "~g", "grid": True, "values": _ticks(low, high)},
    }
    y: Spec = {
        "field": "share",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {
            "title": None,
            "format": ".0%",
            "values": [0, 0.25, 0.5, 0.75, 1],
        },
    }
    stroke, dashes = series_colours(names), series_dashes(names)
    points = [point for one in spreads for point in _points(one)]
    return {
        **RESPONSIVE,
        "height": _PIXELS,
        "layer": [
            {
                "data": {"values": points},
                "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.75},
                "encoding": {
                    "x": x,
                    "y": y,
                    "stroke": stroke,
                    "strokeDash": dashes,
                    "order": {"field": "share", "type": "quantitative"},
                },
            },
            {
                "data": {"values": marked},
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1, "stroke": "var(--paper)"},
                "encoding": {
                    "x": x,
                    "y": y,
                    "fill": stroke,
                    "tooltip": [
                        {"field": "series", "type": "nominal", "title": "loader"},
                        {"field": "p", "type": "nominal", "title": "percentile"},
                        {"field": "told", "type": "nominal", "title": "took"},
                    ],
                },
            },
        ],
    }


def _ticks(low: float, high: float) -> list[float]:
    """Whole decades; where there are few, what lies between as well."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        found = [round(step * 10.0**power, 6) for power in powers for step in steps]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) > _FEWEST_TICKS:
            break
    return found


def _numbers(spreads: Sequence[_Spread], caption: str) -> Html:
    rows = [
        (
            one.series,
            f"{len(one.milliseconds):,}",
            *(decimal(one.percentile(share)) for share in _TOLD),
            decimal(one.milliseconds[-1]),
        )
        for one in spreads
    ]
    return table(caption, ("loader", "batches", *(f"p{share}" for share in _TOLD), "longest"), rows)
