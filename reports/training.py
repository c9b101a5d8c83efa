"""How training went, epoch by epoch, and how good a model is, class by class: tables below the first one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from throughput.results import EpochRecord, Evaluation, Row
from throughput.trained import Classification, Regression

_MOST_EPOCHS = 24
_MOST_CLASSES = 30
_WIDEST_CONFUSION = 16
"""More columns than this no terminal shows; then the commonest confusions are listed."""
_LISTED = 12


def tables(row: Row) -> Iterator[RenderableType]:
    """What there is to tell of a row that ``train`` or ``evaluate`` made."""
    if row.training is not None and row.train is not None:
        yield Text(f"{row.loader}: epochs")
        yield _epochs(row, row.training.epochs)
    if row.evaluation is not None and isinstance(row.evaluation.metrics, Classification):
        yield from _classes(row.evaluation, row.evaluation.metrics)
        yield from _confusion(row.evaluation, row.evaluation.metrics)


def lines(row: Row) -> Iterator[str]:
    """The same in a few sentences."""
    run = row.training
    if run is not None:
        if run.stopped is not None:
            yield f"stopped after {len(run.epochs)} of {run.asked_epochs} epochs: {run.stopped}"
        if run.target_accuracy is not None:
            target = f"{100 * run.target_accuracy:.4g} % of the held-out images"
            if run.target_seconds is None:
                yield f"{target} was not reached"
            else:
                told = f"{target} after {run.target_seconds:,.1f} s of training, judging left out"
                if run.target_wall_seconds is not None:
                    told += f"; {run.target_wall_seconds:,.1f} s by the clock, judging included"
                yield told
        if run.checkpoint is not None:
            yield f"the weights of epoch {run.judged_epoch + 1} lie in {run.checkpoint}"
    if row.evaluation is not None:
        yield _judged(row.evaluation)


def _judged(evaluation: Evaluation) -> str:
    found = evaluation.metrics
    if isinstance(found, Regression):
        explained = "-" if found.r2 is None else f"{found.r2:.4f}"
        return (
            f"{evaluation.subject}, {found.images:,} held-out images: mean absolute error {found.mae:.4g}, "
            f"R2 {explained}, mean squared error {found.loss:.4g}"
        )
    top5 = "" if found.top5 is None else f", top-5 {100 * found.top5:.2f} %"
    macro = ", ".join(f"{name} {value:.4f}" for name, value in found.macro.items())
    return (
        f"{evaluation.subject}, {found.images:,} held-out images: top-1 {100 * found.top1:.2f} %{top5}, "
        f"loss {found.loss:.4f}; means over the classes: {macro}"
    )


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        # A class is named by a folder, whose brackets are not markup.
        table.add_column(Text(heading), justify="left" if place == 0 else "right")
    return table


def _epochs(row: Row, records: Sequence[EpochRecord]) -> Table:
    assert row.train is not None
    watched = any(record.watched_loss is not None for record in records)
    judged = any(record.held_out_loss is not None for record in records)
    headings = ["epoch", "loss"]
    headings += ["watched\nloss"] * watched + ["held-out\nloss", "top-1"] * judged
    headings += ["images/s", "waiting", "seconds", "learning\nrate"]
    table = _table(headings)
    # Of a long run every so many, and the last.
    every = -(-len(records) // _MOST_EPOCHS)
    for place, (record, one) in enumerate(zip(records, row.train.passes, strict=True)):
        if place % every and record is not records[-1]:
            continue
        cells = [str(record.epoch + 1), f"{record.loss:.4f}"]
        if watched:
            cells.append(_number(record.watched_loss))
        if judged:
            accuracy = "-" if record.accuracy is None else f"{100 * record.accuracy:.2f}%"
            cells += [_number(record.held_out_loss), accuracy]
        cells += [f"{one.images / one.seconds:,.0f}", f"{100 * one.wait_seconds / one.seconds:.0f}%"]
        table.add_row(*cells, f"{one.seconds:,.1f}", f"{record.learning_rate:.3g}")
    return table


def _classes(evaluation: Evaluation, found: Classification) -> Iterator[RenderableType]:
    many = len(evaluation.classes) > _MOST_CLASSES
    yield Text(f"{evaluation.subject}: classes" + (f", the {_LISTED} with the lowest F1" if many else ""))
    table = _table(("class", "images", "precision", "recall", "F1"))
    support, columns = found.support, (found.precision, found.recall, found.f1)
    every = range(len(evaluation.classes))
    places: Sequence[int] = found.f1.argsort(kind="stable")[:_LISTED].tolist() if many else every
    for place in places:
        name = Text(evaluation.classes[place])
        table.add_row(name, f"{support[place]:,}", *(f"{column[place]:.4f}" for column in columns))
    macro = found.macro
    table.add_section()
    table.add_row("mean", f"{found.images:,}", *(f"{value:.4f}" for value in macro.values()))
    yield table


def _confusion(evaluation: Evaluation, found: Classification) -> Iterator[RenderableType]:
    names = evaluation.classes
    if len(names) <= _WIDEST_CONFUSION:
        yield Text(f"{evaluation.subject}: confusion, a line for each class, a column for each answer")
        table = _table(("", *names))
        for name, counts in zip(names, found.confusion, strict=True):
            table.add_row(Text(name), *(f"{count:,}" if count else "." for count in counts))
        yield table
        return
    yield Text(f"{evaluation.subject}: commonest confusions")
    table = _table(("class", "taken for", "images"))
    wrong = found.cells[found.cells[:, 0] != found.cells[:, 1]]
    for label, answer, images in wrong[wrong[:, 2].argsort(kind="stable")[::-1]][:_LISTED].tolist():
        table.add_row(Text(names[label]), Text(names[answer]), f"{images:,}")
    yield table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
