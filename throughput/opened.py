"""A loader that was opened for a training loop of the caller's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from throughput.contracts import Batch, Fault, Loader, Resumable, Work
from throughput.errors import OptionError


@dataclass(frozen=True)
class OpenLoader:
    """A loader that runs. classes: names that the labels index. work: what it does, in full."""

    samples_per_epoch: int
    classes: tuple[str, ...]
    work: Work
    _loader: Loader
    _epoch: Callable[[int], Iterator[Batch]]

    def epoch(self, index: int) -> Iterator[Batch]:
        """The batches of an epoch: every sample once, in train in another order than in other epochs."""
        return self._epoch(index)

    def take_faults(self) -> list[Fault]:
        """The bad samples of the batches that came since this was last asked (``on_error``)."""
        return self._loader.take_faults()

    def state_dict(self) -> dict[str, Any]:
        """What was delivered of the epoch that was begun last, the batch that came last included.

        Plain values, for a checkpoint. Raises OptionError for a loader that cannot tell.
        """
        return self._resumable().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the epoch of a state bring the rest, whatever the number of workers, and its next one all.

        Raises StateError for one of other data, OptionError for a loader that cannot go on in mid-epoch.
        """
        self._resumable().load_state_dict(state)

    def _resumable(self) -> Resumable:
        if not isinstance(self._loader, Resumable):
            raise OptionError("this loader does not tell what it has delivered: begin with whole epochs")
        return self._loader
