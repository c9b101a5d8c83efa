"""Where a loader's time goes: the stages of an image, one behind the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from throughput.reports.cells import percent
from throughput.reports.drawing import RESPONSIVE, Chart, Figure, Key, Spec, halo_and_text, named_colours
from throughput.reports.markup import Html, printable, table
from throughput.reports.numbers import decimal
from throughput.reports.tellable import Run
from throughput.results import Row

_COLOURS = {
    "read": "var(--series-8)",
    "decode": "var(--series-1)",
    "transform": "var(--series-3)",
    "collate": "var(--series-5)",
    "finish": "var(--series-4)",
    "loader": "var(--series-2)",
}
"""Of the stages that loaders here tell; others get what is left."""
_SPARE = ("var(--series-6)", "var(--series-7)")
_LEAST_LABELLED = 0.14
"""A smaller share has no room for its number."""
_ROW_PIXELS = 22
_ROOM_FOR_A_NUMBER = 1.22


def stages_figure(run: Run) -> Figure | None:
    """None where no loader told its stages."""
    rows = [(name, row) for name, row in run.measured if row.stages]
    if not rows:
        return None
    colours = _colours([row for _, row in rows])
    by_clock = run.results.work.get("device") != "cpu" or any("loader" in row.stages for _, row in rows)
    caption = "Milliseconds of one core that an image takes, stage by stage, measured in one thread."
    if by_clock:
        caption += (
            " What runs on a GPU, and the stage 'loader' of one that tells no others, are timed by the clock."
        )
    described = "; ".join(
        f"{name}: {decimal(1e3 * sum(row.stages.values()))} ms, of which "
        + ", ".join(f"{stage} {percent(share)}" for stage, share in _shares(row))
        for name, row in rows
    )
    return Figure(
        "stages",
        "Where the loader's time goes",
        (Chart(_spec(rows, colours), f"Milliseconds that an image takes in each stage. {described}."),),
        tuple(Key(stage, colour) for stage, colour in colours.items()),
        caption,
        _numbers(rows),
    )


def _colours(rows: Sequence[Row]) -> dict[str, str]:
    """Of each stage that there is, in the order of the work."""
    there = dict.fromkeys(printable(stage) for row in rows for stage in row.stages)
    known = [stage for stage in _COLOURS if stage in there]
    others = [stage for stage in there if stage not in _COLOURS]
    spare = {stage: _SPARE[place % len(_SPARE)] for place, stage in enumerate(others)}
    return {stage: _COLOURS[stage] for stage in known} | spare


def _shares(row: Row) -> Iterator[tuple[str, float]]:
    total = sum(row.stages.values())
    return ((stage, seconds / total) for stage, seconds in row.stages.items())


def _numbers(rows: Sequence[tuple[str, Row]]) -> Html:
    cells = [
        (name, stage, decimal(1e3 * row.stages[stage], 3), percent(share))
        for name, row in rows
        for stage, share in _shares(row)
    ]
    return table("Stages of an image", ("loader", "stage", "ms", "share"), cells, words={1})


def _spec(rows: Sequence[tuple[str, Row]], colours: dict[str, str]) -> Spec:
    parts = [part for number, (name, row) in enumerate(rows) for part in _parts(number, name, row)]
    totals: list[Spec] = [
        {
            "place": f"{number}~bar",
            "end": 1e3 * sum(row.stages.values()),
            "label": f"{decimal(1e3 * sum(row.stages.values()))} ms",
        }
        for number, (_, row) in enumerate(rows)
    ]
    names = [{"place": f"{number}~", "name": name} for number, (name, _) in enumerate(rows)]
    places = [place for number in range(len(rows)) for place in (f"{number}~", f"{number}~bar")]
    y: Spec = {
        "field": "place",
        "type": "nominal",
        "scale": {"domain": places, "paddingInner": 0.15, "paddingOuter": 0.1},
        "axis": None,
    }
    x: Spec = {
        "type": "quantitative",
        "scale": {
            "domain": [0, _ROOM_FOR_A_NUMBER * max(total["end"] for total in totals)],
            "nice": False,
        },
        "axis": {"title": "milliseconds for an image", "tickCount": 5},
    }
    return {
        **RESPONSIVE,
        "height": _ROW_PIXELS * len(places),
        "layer": [
            {
                "data": {"values": parts},
                "mark": {"type": "bar", "cornerRadiusEnd": 0},
                "encoding": {
                    "x": x | {"field": "start"},
                    "x2": {"field": "end"},
                    "y": y,
                    "color": named_colours("stage", colours),
                    "tooltip": [
                        {"field": "loader", "type": "nominal"},
                        {"field": "stage", "type": "nominal"},
                        {"field": "told", "type": "nominal", "title": "takes"},
                    ],
                },
            },
            {
                "data": {"values": [part for part in parts if part["share"] >= _LEAST_LABELLED]},
                "mark": {"type": "text", "fill": "var(--paper)", "fontWeight": 600},
                "encoding": {"x": x | {"field": "middle"}, "y": y, "text": {"field": "label"}},
            },
            *(
                {"data": {"values": totals}} | layer
                for layer in halo_and_text(
                    {"type": "text", "align": "left", "dx": 6, "fontWeight": 600, "fill": "var(--ink)"},
                    {"x": x | {"field": "end"}, "y": y, "text": {"field": "label"}},
                )
            ),
            {
                "data": {"values": names},
                "mark": {
                    "type": "text",
                    "align": "left",
                    "dy": 4,
                    "fontSize": 13,
                    "fontWeight": 600,
                    "fill": "var(--ink)",
                    "limit": {"expr": "width"},
                },
                "encoding": {"x": {"value": 0}, "y": y, "text": {"field": "name"}},
            },
        ],
    }


def _parts(number: int, name: str, row: Row) -> Iterator[Spec]:
    start = 0.0
    for stage, share in _shares(row):
        end = start + 1e3 * row.stages[stage]
        yield {
            "place": f"{number}~bar",
            "loader": name,
            "stage": printable(stage),
            "start": start,
            "middle": (start + end) / 2,
            "end": end,
            "share": share,
            "label": percent(share),
            "told": f"{decimal(end - start, 3)} ms ({percent(share)})",
        }
        start = end
