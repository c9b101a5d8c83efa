"""Who is told how training goes."""

from __future__ import annotations

from typing import Protocol

from throughput.results import Pass
from throughput.trained import EpochRecord
from throughput.training.epoch import Moment


class Listener(Protocol):
    """Told how training goes. Must return at once."""

    def moment(self, moment: Moment) -> None:
        """A few times a second."""

    def epoch(self, record: EpochRecord, one: Pass) -> None:
        """After each epoch, once its checkpoint is written."""

    def note(self, text: str) -> None:
        """Before the first epoch: what may not be as it was meant."""


class Silence:
    """Listens to nothing."""

    def moment(self, moment: Moment) -> None: ...

    def epoch(self, record: EpochRecord, one: Pass) -> None: ...

    def note(self, text: str) -> None: ...
