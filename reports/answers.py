"""How good a model is, class by class, and what it takes for what."""

from __future__ import annotations

from collections.abc import Sequence

from throughput.reports.markup import Html, folded, joined, table
from throughput.reports.numbers import decimal
from throughput.reports.tellable import Run
from throughput.results import Evaluation
from throughput.trained import Classification

_MOST_CLASSES = 100
"""Of more, those that are told worst."""
_LISTED = 24


def evaluations_of(run: Run) -> Html:
    """Tables for each row whose model was judged by classes; nothing where there is none."""
    return joined(
        _judged(name, row.evaluation, row.evaluation.metrics)
        for name, row in run.rows
        if row.evaluation is not None and isinstance(row.evaluation.metrics, Classification)
    )


def _judged(name: str, evaluation: Evaluation, found: Classification) -> Html:
    tables = [_classes(evaluation, found), _confusions(evaluation, found)]
    return folded(f"Class by class: {evaluation.subject}, fed by {name}", *tables)


def _classes(evaluation: Evaluation, found: Classification) -> Html:
    places: Sequence[int] = range(len(evaluation.classes))
    caption = "Every class"
    if len(places) > _MOST_CLASSES:
        places = found.f1.argsort(kind="stable")[:_LISTED].tolist()
        caption = f"The {_LISTED} of {len(evaluation.classes):,} classes with the lowest F1"
    support, answered = found.support, found.answered
    columns = (found.precision, found.recall, found.f1)
    rows = [
        (
            evaluation.classes[place],
            f"{support[place]:,}",
            f"{answered[place]:,}",
            *(decimal(float(column[place]), 4) for column in columns),
        )
        for place in places
    ]
    return table(caption, ("class", "images", "answers", "precision", "recall", "F1"), rows)


def _confusions(evaluation: Evaluation, found: Classification) -> Html:
    wrong = found.cells[found.cells[:, 0] != found.cells[:, 1]]
    commonest = wrong[wrong[:, 2].argsort(kind="stable")[::-1]][:_LISTED].tolist()
    rows = [
        (evaluation.classes[label], evaluation.classes[answer], f"{images:,}")
        for label, answer, images in commonest
    ]
    return (
        table("Commonest confusions", ("class", "taken for", "images"), rows, words={1}) if rows else Html()
    )
