"""Batches of one stream that is made ahead, epoch after epoch: what the loaders here have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from throughput.canonical import epoch_ids
from throughput.contracts import Batch, Fault, Loader, Work
from throughput.errors import LoaderError, TooManyErrorsError
from throughput.resuming import NOTHING, Delivered, delivered_in, state_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Made(NamedTuple):
    """A batch without its labels. ids: (N,) int64. images: (N, S, S, C) uint8; those of faults, undefined."""

    ids: NDArray[np.int64]
    images: Tensor
    faults: Sequence[Fault] = ()


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
        self._faults: list[Fault] = []
        self._stand_in: Made | None = None
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
        the loader is closed, before this one has ended, and TooManyErrorsError.
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
            self._faults += made.faults
            bad = self._handed_over.bad_of_rank + len(made.faults)
            if made.faults:
                self._require_few(self._handed_over.bad_of_all + bad, made.faults[-1])
            # Bad ones as well: those, too, are done with.
            self._handed_over.by_rank[made.ids] = True
            self._handed_over = self._handed_over._replace(bad_of_rank=bad)
            ids, images, shown = self._sound(made)
            if len(ids):
                labels = torch.from_numpy(self._work.source.labels[shown])
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

    def take_faults(self) -> list[Fault]:
        """The bad samples since this was last asked."""
        taken, self._faults = self._faults, []
        return taken

    def _sound(self, made: Made) -> tuple[NDArray[np.int64], Tensor, NDArray[np.int64]]:
        """Ids, images and what these show, (N,) int64: a batch without its bad samples, or with stand-ins.

        A stand-in is the next good image of its batch, else the last of an earlier one. Where there never was
        any, the batch is left out.
        """
        import torch

        substitutes = self._work.on_error == "substitute"
        ids, images, faults = made
        if not faults and not substitutes:
            return ids, images, ids
        good = np.isin(ids, [fault.id for fault in faults], invert=True)
        places = np.flatnonzero(good)
        if substitutes and len(places):
            last = int(places[-1])
            # A copy: held on to, the batch would keep its memory from being used again. By a slice: for an
            # index the host would wait until a GPU has made the images.
            self._stand_in = Made(ids[last : last + 1].copy(), images[last : last + 1].clone())
        if not faults:
            return ids, images, ids
        if not substitutes:
            return ids[places], images[torch.from_numpy(places)], ids[places]
        if len(places):
            following = places[np.searchsorted(places, np.arange(len(ids))) % len(places)]
            return np.where(good, ids, -1), images[torch.from_numpy(following)], ids[following]
        if self._stand_in is None:
            return ids[:0], images[:0], ids[:0]
        count = len(ids)
        shown, image = self._stand_in.ids.repeat(count), self._stand_in.images
        return np.full(count, -1), image.repeat(count, 1, 1, 1), shown

    def _require_few(self, bad: int, last: Fault) -> None:
        most = self._work.max_errors
        if bad > most:
            raise TooManyErrorsError(
                f"more than {most} samples of an epoch are bad (--max-errors), the last of them "
                f"{last.sample}: {last.cause}; `throughput check` lists all of them"
            )

    def close(self) -> None:
        """End the epoch that is being read, if one is, and the threads or processes."""
        self._begun += 1
        self._ready_for = None
        self._running = iter(())
        self._end()
