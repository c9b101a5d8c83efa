"""Progress of long work, on stderr, so that stdout holds only what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from throughput.contracts import Progress, no_progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar for each text that is reported; gone on leaving, and nothing where stderr is no terminal.

    The units of ``done`` and ``total`` are the caller's; a ``total`` of None shows a moving bar.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield no_progress
        return
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        # Texts hold file names, whose brackets are not markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(text: str, done: float, total: float | None) -> None:
            if text not in tasks:
                tasks[text] = bars.add_task(text, total=total)
            bars.update(tasks[text], completed=done, total=total)

        yield report
