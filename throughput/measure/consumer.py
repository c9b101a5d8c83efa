"""What takes the batches of a measurement: a model that is trained (``learning``), or one that answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from throughput.contracts import Batch, Loader, Work
from throughput.measure.stream import HasEpochs
from throughput.results import PhaseName, Row


class Consumer(Protocol):
    """Which model, and what is done with it. Picklable: it is started in the process that measures."""

    def feed(self, loader: Loader, work: Work) -> HasEpochs:
        """The loader's batches as the model takes them; what that costs counts as the loader's."""

    def start(self, work: Work, batches: Sequence[Batch], *, takes_work: bool) -> Consuming:
        """The model, ready for batches like these. takes_work: as of the loader's factory."""


class Consuming(Protocol):
    """A model at work. Call it with a batch as ``feed`` made it."""

    def __call__(self, batch: Batch) -> object:
        """Take a batch; on a GPU it may return before the device is done."""

    def wait(self) -> None:
        """Wait until the device is done."""

    def begin(self, state: Path) -> None:
        """Begin as an earlier round left it in ``state``, or as new; what warmed it up is forgotten."""

    def leave(self, state: Path) -> None:
        """Leave for the next round what ``begin`` takes."""

    def told(self, row: Row, phase: PhaseName) -> Row:
        """The row with what the model knows of the phase that was measured just now."""

    def judge(self, row: Row, batches: Iterable[Batch]) -> Row:
        """The row with how good the answers for held-out batches are."""
