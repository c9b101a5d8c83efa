"""``table``: one row a loader, for a terminal."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from throughput.contracts import Report
from throughput.results import Phase, Results, Row

NOTHING = "-"


class TableReport(Report):
    """A rich table, as wide as the terminal (at least 100 columns), with what it means below it."""

    about = "one row a loader, for a terminal"

    def render(self, results: Results) -> str:
        """Plain text; colours are left to whoever prints to a terminal."""
        table = Table()
        rows = [(row.loader, *_cells(row)) for row in sorted(results.rows, key=_rank, reverse=True)]
        for place, column in enumerate(zip(("loader", "decode", *_HEADINGS), *rows, strict=True)):
            # Where all does not fit, cells wrap; a word or number is never cut.
            longest = max(len(word) for cell in column for word in cell.split())
            table.add_column(column[0], justify="left" if place < 2 else "right", min_width=longest)
        for cells in rows:
            table.add_row(*cells)
        width = max(100, shutil.get_terminal_size((120, 24)).columns)
        # Paths may hold what rich would take for markup.
        console = Console(file=io.StringIO(), width=width, markup=False, emoji=False)
        console.print(Text(_title(results)), soft_wrap=True)
        console.print(table, crop=False)
        for line in _notes(results):
            console.print(Text(line), soft_wrap=True)
        text = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO from above
        return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


_HEADINGS = (
    "alone\nimages/s",
    "model\nimages/s",
    "training\nimages/s",
    "of the\nceiling",
    "waiting",
    "GPU",
    "CPU",
    "memory\nGB",
    "top-1",
)


def _short(path: str) -> str:
    """A path below the home folder as a shell would write it."""
    home = f"{Path.home()}/"
    return f"~/{path.removeprefix(home)}" if path.startswith(home) else path


def _title(results: Results) -> str:
    work = results.work
    return (
        f"{work['train_images']:,} images ({work['val_images']:,} more held out) of "
        f"{_short(work['source'])}, {work['image_size']} px, batch {work['batch_size']}, "
        f"{work['model']} in {work['compute_dtype']} on {work['device']}, {work['workers']} workers"
    )


def _rank(row: Row) -> tuple[bool, float]:
    """Fastest in training first; what was not measured last."""
    phase = row.train or row.load or row.model
    return row.status == "ok", phase.images_per_second.median if phase else 0.0


def _cells(row: Row) -> list[str]:
    if row.status != "ok":
        return [row.status, *[NOTHING] * len(_HEADINGS)]
    return [
        row.decode or NOTHING,
        _rate(row.load),
        _rate(row.model),
        _rate(row.train),
        _percent(row.share_of_ceiling),
        _percent(row.train.wait_fraction if row.train else None),
        _percent(row.gpu_utilisation),
        _percent(row.cpu_utilisation),
        NOTHING if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e9:.1f}",
        _percent(row.accuracy, digits=1),
    ]


def _rate(phase: Phase | None) -> str:
    """The median, and half the span of the passes where there were several."""
    if phase is None:
        return NOTHING
    rate = phase.images_per_second
    if rate.low is None or rate.high is None:
        return f"{rate.median:,.0f}"
    return f"{rate.median:,.0f} ±{(rate.high - rate.low) / 2:,.0f}"


def _percent(share: float | None, digits: int = 0) -> str:
    return NOTHING if share is None else f"{100 * share:.{digits}f}%"


def _notes(results: Results) -> list[str]:
    """What a reader must know to trust, or not to trust, a row."""
    notes = []
    for row in results.rows:
        if row.status != "ok":
            notes.append(f"{row.loader}: {row.status}: {row.reason}")
            continue
        if row.prepare is not None and row.prepare.folder is not None:
            cost = f"in {row.prepare.seconds:.1f} s" if row.prepare.seconds else "by an earlier run"
            notes.append(
                f"{row.loader}: reads a copy of {row.prepare.bytes / 1e6:,.0f} MB, "
                f"packed {cost} into {_short(row.prepare.folder)}"
            )
        if row.ledger is not None:
            notes.append(f"{row.loader}: {_counted(row)}")
        if row.accuracy is not None and row.train_images is not None:
            notes.append(
                f"{row.loader}: top-1 of {results.work['val_images']:,} held-out images "
                f"after training on {row.train_images:,}"
            )
        if row.accuracy is None and row.accuracy_reason is not None:
            notes.append(f"{row.loader}: no accuracy: {row.accuracy_reason}")
    return notes


def _counted(row: Row) -> str:
    assert row.ledger is not None
    worst = row.ledger.worst
    complete = sum(epoch.complete for epoch in row.ledger.epochs)
    if row.ledger.exact and complete:
        return f"every one of {worst.expected:,} images exactly once in each of {complete} epochs"
    if row.ledger.exact:
        return f"no epoch was finished; {worst.unique:,} of {worst.expected:,} images came, none twice"
    return (
        f"MISCOUNTED: in epoch {worst.epoch}, of {worst.expected:,} images {worst.missing or 0:,} missing, "
        f"{worst.duplicate:,} duplicate, {worst.unexpected:,} unexpected"
    )
