"""Batches of one stream that is made ahead, epoch after epoch: what the loaders here have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from throughput.canonical import epoch_ids
from throughput.contracts import Batch, Loader, Work
from throughput.errors import LoaderError
from throughput.resuming import NOTHING, Delivered, delivered_in, state_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Made(NamedTuple):
    """A batch without its labels. ids: (N,) int64. images: (N, S, S, C) uint8."""

    ids: NDArray[np.int64]
    images: Tensor


class EpochLoader(Loader):
    """Counts the batches of each epoch, and lets one epoch at a time be read; Resumable.

    endless: a train stream goes on with the next epoch by itself.
    """

    endless = True

    def __init__(self, work: Work, samples_per_epoch: int) -> None:
        self._work = work
        self.samples_per_epoch = samples_per_epoch
        self._running: Iterator[Made] = iter(())
        self._ready_for: int | None = None
        self._begun = 0
        self._loaded = NOTHING
        self._handed_over = Delivered(0).continued(len(work.source.labels))

    @abstractmethod
    def _begin(self, first_epoch: int, delivered: Delivered) -> Iterator[Made]:
        """Begin anew: the batches from ``first_epoch`` on, without what was delivered of it."""

    def _samples_left(self, delivered: Delivered) -> int:
        """How many samples are left of this rank's share of an epoch of which something was delivered."""
        return len(epoch_ids(self._work, delivered.epoch, delivered))

    @abstractmethod
    def _end(self) -> None:
        """End the threads or processes."""

    def epoch(self, index: int) -> Iterator[Batch]:
        """Continues with the batches that were made ahead where ``index`` is the next epoch.

        Of the epoch of a state that was loaded, the rest. Raises LoaderError where another epoch begins, or
        the loader is closed, before this one has ended.
        """
        import torch

        self._begun += 1
        number = self._begun
        samples = self.samples_per_epoch
        delivered = Delivered(index)
        if self._loaded.epoch == index:
            delivered, self._loaded = self._loaded, NOTHING
            samples = self._samples_left(delivered)
            self._running = self._begin(index, delivered)
        elif self._ready_for != index:
            self._running = self._begin(index, NOTHING)
        self._handed_over = delivered.continued(len(self._work.source.labels))
        self._ready_for = None  # unless this epoch is read to its end
        due = -(-samples // self._work.batch_size)
        for came in range(due):
            if number != self._begun:
                raise LoaderError(
                    f"epoch {index} ended after {came} of {due} batches: another one was begun meanwhile, or "
                    "the loader was closed; read one epoch at a time"
                )
            made = next(self._running, None)
            if made is None:
                raise LoaderError(f"epoch {index} ended after {came} of {due} batches: its workers ended")
            ids, images = made
            labels = torch.from_numpy(self._work.source.labels[ids])
            self._mark(ids)
            yield Batch(images.permute(0, 3, 1, 2), labels, torch.from_numpy(ids))
            del made, images  # for as long as they are named here, their memory would not be used again
        if self._work.split == "train" and self.endless and number == self._begun:
            self._ready_for = index + 1

    def state_dict(self) -> dict[str, Any]:
        """What was handed over of the epoch that was begun last, or what was loaded since."""
        return state_of(self._work, self._handed_over)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """An epoch that is still being read ends by this. Raises StateError where the state does not fit."""
        self._loaded = self._handed_over = delivered_in(self._work, state)
        self._begun += 1
        self._ready_for = None

    def _mark(self, ids: NDArray[np.int64]) -> None:
        """These samples, (N,) int64, are done with: they were handed over, or turned out to be bad."""
        self._handed_over.by_rank[ids[ids >= 0]] = True

    def close(self) -> None:
        """End the epoch that is being read, if one is, and the threads or processes."""
        self._begun += 1
        self._ready_for = None
        self._running = iter(())
        self._end()
