"""Progress of long work, on stderr, so that stdout holds only what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from throughput.contracts import Progress, no_progress


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Progress]:
    """One line that tells what is being done and what remains; gone on leaving, absent without a terminal.

    shown: False where another process has it.

    The units of ``done`` and ``total`` are the caller's; a ``total`` of None shows a moving bar.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield no_progress
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        # Texts hold file names, whose brackets are not markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        line = bars.add_task("starting", total=None)
        last_done = 0.0

        def report(text: str, done: float, total: float | None) -> None:
            nonlocal last_done
            if done < last_done:
                bars.reset(line)  # other work begins: its speed is not that of the work before
            last_done = done
            # A bar that is drawn ten times a second might never be seen full.
            bars.update(line, description=text, completed=done, total=total, refresh=done == total)

        yield report
