"""How training went, epoch by epoch: the losses as lines, and every epoch's figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from throughput.reports.cells import percent
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
from throughput.reports.numbers import decimal, general, known, per_second
from throughput.reports.tellable import Run
from throughput.results import EpochRecord, Row

_LOSSES: dict[str, Callable[[EpochRecord], float | None]] = {
    "training": lambda record: record.loss,
    "images watched for early stopping": lambda record: record.watched_loss,
    "held-out images": lambda record: record.held_out_loss,
}
_PIXELS = 200


def learning_figures(run: Run) -> list[Figure]:
    """One for each row that was trained."""
    return [
        _figure(place, name, row, row.training.epochs)
        for place, (name, row) in enumerate(run.rows)
        if row.training is not None and row.training.epochs
    ]


def _figure(place: int, name: str, row: Row, records: Sequence[EpochRecord]) -> Figure:
    values = [
        {"series": series, "epoch": record.epoch + 1, "loss": loss}
        for series, loss_of in _LOSSES.items()
        for record in records
        if known(loss := loss_of(record))
    ]
    series = [one for one in _LOSSES if any(value["series"] == one for value in values)]
    last = records[-1]
    told = f"; top-1 of held-out images {percent(last.accuracy, 2)}" if known(last.accuracy) else ""
    charts: tuple[Chart, ...] = ()
    if values:
        described = (
            f"Loss over {len(records)} epochs: {general(records[0].loss)} in the first, "
            f"{general(last.loss)} in the last{told}."
        )
        charts = (Chart(_spec(values, series, len(records)), described),)
    return Figure(
        f"learning-{place}",
        f"How training went: {name}",
        charts,
        series_keys(series, series) if charts else (),
        "Loss after each epoch." if charts else "No epoch has a finite loss.",
        _numbers(row, records),
    )


def _numbers(row: Row, records: Sequence[EpochRecord]) -> Html:
    passes = () if row.train is None else row.train.passes
    rows = []
    for place, record in enumerate(records):
        measured = passes[place] if place < len(passes) else None
        rows.append(
            (
                str(record.epoch + 1),
                decimal(record.loss, 4),
                decimal(record.watched_loss, 4),
                decimal(record.held_out_loss, 4),
                percent(record.accuracy, 2),
                per_second(None if measured is None else measured.images / measured.seconds),
                percent(None if measured is None else measured.wait_seconds / measured.seconds),
                decimal(record.seconds, 1),
                general(record.learning_rate),
            )
        )
    headings = (
        "epoch",
        "loss",
        "watched loss",
        "held-out loss",
        "top-1",
        "images/s",
        "waiting",
        "seconds",
        "learning rate",
    )
    return table("Every epoch", headings, rows, numbered=True)


def _spec(values: list[Spec], series: list[str], epochs: int) -> Spec:
    step = max(1, math.ceil(epochs / 8))
    return {
        **RESPONSIVE,
        "height": _PIXELS,
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.75, "point": {"size": 25, "filled": True}},
                "encoding": {
                    "x": {
                        "field": "epoch",
                        "type": "quantitative",
                        "scale": {"domain": [1, max(2, epochs)], "nice": False},
                        "axis": {
                            "title": "epoch",
                            "grid": False,
                            "format": "d",
                            "values": list(range(1, epochs + 1, step)),
                        },
                    },
                    "y": {
                        "field": "loss",
                        "type": "quantitative",
                        "scale": {"zero": False},
                        "axis": {
                            "title": None,
                            "format": "~g",
                        },
                    },
                    "color": series_colours(series),
                    "strokeDash": series_dashes(series),
                },
            }
        ],
    }
