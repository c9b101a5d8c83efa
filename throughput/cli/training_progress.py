"""How training goes, live, on stderr: a bar while a terminal looks on, and a line for each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from throughput.cli.progress import progress_bar

if TYPE_CHECKING:
    from throughput.contracts import Progress
    from throughput.results import EpochRecord, Pass
    from throughput.training.epoch import Moment


class Shown:
    """Listens to training."""

    def __init__(self, epochs: int, progress: Progress, *, shown: bool = True) -> None:
        self._shown = shown
        self._epochs = epochs
        self.preparing = progress
        self._accuracy = ""

    def moment(self, moment: Moment) -> None:
        """Move the bar."""
        share = moment.batch / max(1, moment.batches)
        self.preparing(
            f"epoch {moment.epoch + 1} of {self._epochs}: {moment.images_per_second:,.0f} images/s, "
            f"{100 * moment.wait_fraction:.0f} % waiting, loss {moment.loss:.4f}{self._accuracy}",
            moment.epoch + share,
            self._epochs,
        )

    def epoch(self, record: EpochRecord, one: Pass) -> None:
        """Print the epoch's line."""
        if not self._shown:
            return
        told = f"loss {record.loss:.4f}"
        if record.watched_loss is not None:
            told += f", {record.watched_loss:.4f} on watched images"
        if record.accuracy is not None:
            told += f", top-1 {100 * record.accuracy:.2f} %"
            self._accuracy = f", top-1 {100 * record.accuracy:.1f} % before"
        elif record.held_out_loss is not None:
            told += f", {record.held_out_loss:.4f} on held-out images"
        click.echo(
            f"epoch {record.epoch + 1} of {self._epochs}: {told}; {one.seconds:.1f} s, "
            f"{one.images / one.seconds:,.0f} images/s, {100 * one.wait_seconds / one.seconds:.0f} % waiting",
            err=True,
        )

    def note(self, text: str) -> None:
        """Print it."""
        if self._shown:
            click.echo(f"throughput: {text}", err=True)


@contextmanager
def training_progress(epochs: int, *, shown: bool = True) -> Iterator[Shown]:
    """What a trainer tells, shown; not ``shown`` where another process tells it."""
    with progress_bar(shown=shown) as progress:
        yield Shown(epochs, progress, shown=shown)
