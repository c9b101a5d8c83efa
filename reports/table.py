"""``table``: one row a loader, for a terminal."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from throughput.contracts import Report
from throughput.reports.notes import notes, short
from throughput.reports.training import tables
from throughput.results import Phase, Results, Row

NOTHING = "-"


class TableReport(Report):
    """A rich table, as wide as the terminal (at least 100 columns), with what it means below it."""

    about = "one row a loader, for a terminal"

    def render(self, runs: Sequence[Results]) -> str:
        """Plain text; colours are left to whoever prints to a terminal."""
        return "\n\n".join(map(_rendered, runs))


def _rendered(results: Results) -> str:
    table = Table()
    columns = _ANSWERING if _answers(results) else _TRAINING
    rows = [(_name(row), *_cells(row, columns)) for row in sorted(results.rows, key=_rank, reverse=True)]
    for place, column in enumerate(zip(("loader", "decode", *columns), *rows, strict=True)):
        # Where all does not fit, cells wrap; a word or number is never cut.
        longest = max(len(word) for cell in column for word in cell.split())
        table.add_column(column[0], justify="left" if place < 2 else "right", min_width=longest)
    for cells in rows:
        table.add_row(*cells)
    width = max(100, shutil.get_terminal_size((120, 24)).columns)
    # Paths may hold what rich would take for markup.
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False)
    console.print(Text(_title(results)), soft_wrap=True)
    if not all(_is_evaluation(row) for row in results.rows) or not results.rows:
        console.print(table, crop=False)
    for row in () if _answers(results) else results.rows:  # what feeds a model changes nothing about it
        for one in tables(row):
            console.print(one, crop=False)
    for line in notes(results):
        console.print(Text(line), soft_wrap=True)
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO from above
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


def _answers(results: Results) -> bool:
    """Whether a model answered for the batches, and was not trained by them."""
    return results.work.get("activity") == "inference"


def _title(results: Results) -> str:
    work = results.work
    images = f"{work['train_images']:,} images ({work['val_images']:,} more held out)"
    if _answers(results):
        images = f"{work['images']:,} images ({work['val_images']:,} of them held out)"
    return (
        f"{images} of "
        f"{short(work['source'])}, {work['image_size']} px, batch {work['batch_size']}, "
        f"{work['model']} in {work['compute_dtype']} on {work['device']}, {work['workers']} workers"
    )


def _is_evaluation(row: Row) -> bool:
    """Whether nothing was measured of it but how good a model is."""
    return row.evaluation is not None and row.train is None and row.model is None


def _rank(row: Row) -> tuple[bool, bool, float]:
    """Fastest in training first; below them what does other work, and last what was not measured."""
    phase = row.train or row.load or row.model
    return row.status == "ok", row.is_sound, phase.images_per_second.median if phase else 0.0


def _name(row: Row) -> str:
    """With a stamp below it where the row is not what it seems."""
    if row.status != "ok":
        return row.loader
    stamps = []
    if row.ledger is not None and not row.ledger.exact:
        stamps.append("MISCOUNTED")
    if row.certificate is not None and not row.certificate.comparable:
        stamps.append("not certified" if row.certificate.comparable is None else "NOT COMPARABLE")
    return "\n".join([row.loader, *stamps])


def _cells(row: Row, columns: Mapping[str, Callable[[Row], str]]) -> list[str]:
    if row.status != "ok":
        return [row.status, *[NOTHING] * len(columns)]
    return [row.decode or NOTHING, *(cell(row) for cell in columns.values())]


def _rate(phase: Phase | None) -> str:
    """The median, and half the width of its interval where there were several passes."""
    if phase is None:
        return NOTHING
    found = phase.images_per_second
    if found.low is None or found.high is None:
        return f"{found.median:,.0f}"
    half = (found.high - found.low) / 2
    # Two passes that differ say next to nothing, and their interval says so.
    return f"{found.median:,.0f} ±{half:,.0f}" if half < found.median else f"{found.median:,.0f} ±>100%"


def _percent(share: float | None, digits: int = 0) -> str:
    return NOTHING if share is None else f"{100 * share:.{digits}f}%"


def _milliseconds(row: Row, share: str) -> str:
    latency = None if row.model is None else row.model.latency_ms
    return NOTHING if latency is None else f"{latency[share]:,.1f}"


_COMMON: dict[str, Callable[[Row], str]] = {
    "CPU": lambda row: _percent(row.cpu_utilisation),
    "memory\nGB": lambda row: NOTHING if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e9:.1f}",
    "top-1": lambda row: _percent(row.accuracy, digits=1),
    "verdict": lambda row: NOTHING if row.verdict is None else row.verdict.bottleneck,
}
_TRAINING: dict[str, Callable[[Row], str]] = {
    "alone\nimages/s": lambda row: _rate(row.load),
    "model\nimages/s": lambda row: _rate(row.model),
    "training\nimages/s": lambda row: _rate(row.train),
    "of the\nceiling": lambda row: _percent(row.share_of_ceiling),
    "waiting": lambda row: _percent(row.train.wait_fraction if row.train else None),
    "GPU": lambda row: _percent(row.gpu_utilisation),
    **_COMMON,
}
_ANSWERING: dict[str, Callable[[Row], str]] = {
    "provider": lambda row: (row.runtime and row.runtime.provider) or NOTHING,
    "alone\nimages/s": lambda row: _rate(row.load),
    "session\nimages/s": lambda row: _rate(row.model),
    "both\nimages/s": lambda row: _rate(row.train),
    "of the\nceiling": lambda row: _percent(row.share_of_ceiling),
    "p50\nms": lambda row: _milliseconds(row, "p50"),
    "p99\nms": lambda row: _milliseconds(row, "p99"),
    **_COMMON,
}
"""Heading -> cell, in order."""
