"""Batches of one stream that is made ahead, epoch after epoch: what the loaders here have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from throughput.contracts import Batch, Loader, Work
from throughput.errors import LoaderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Made(NamedTuple):
    """A batch without its labels. ids: (N,) int64. images: (N, S, S, C) uint8."""

    ids: NDArray[np.int64]
    images: Tensor


class EpochLoader(Loader):
    """Counts the batches of each epoch, and lets one epoch at a time be read.

    endless: a train stream goes on with the next epoch by itself.
    """

    endless = True

    def __init__(self, work: Work, samples_per_epoch: int) -> None:
        self._work = work
        self.samples_per_epoch = samples_per_epoch
        self._running: Iterator[Made] = iter(())
        self._ready_for: int | None = None
        self._begun = 0

    @abstractmethod
    def _begin(self, first_epoch: int) -> Iterator[Made]:
        """Begin anew: the batches from ``first_epoch`` on."""

    @abstractmethod
    def _end(self) -> None:
        """End the threads or processes."""

    def epoch(self, index: int) -> Iterator[Batch]:
        """Continues with the batches that were made ahead where ``index`` is the next epoch.

        Raises LoaderError where another epoch begins, or the loader is closed, before this one has ended.
        """
        import torch

        self._begun += 1
        number = self._begun
        if self._ready_for != index:
            self._running = self._begin(index)
        self._ready_for = None  # unless this epoch is read to its end
        due = -(-self.samples_per_epoch // self._work.batch_size)
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
            yield Batch(images.permute(0, 3, 1, 2), labels, torch.from_numpy(ids))
            del made, images  # for as long as they are named here, their memory would not be used again
        if self._work.split == "train" and self.endless and number == self._begun:
            self._ready_for = index + 1

    def close(self) -> None:
        """End the epoch that is being read, if one is, and the threads or processes."""
        self._begun += 1
        self._ready_for = None
        self._running = iter(())
        self._end()
