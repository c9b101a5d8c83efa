"""``replay``: a few real batches again and again. No loader can feed a model faster: it is the ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from throughput.bad_samples import read_sample
from throughput.canonical import epoch_batches, epoch_ids
from throughput.contracts import Batch, Loader, LoaderFactory, OnError, Requirement, Work
from throughput.errors import LoaderError, OptionError
from throughput.loaders.epochs import EpochLoader, Made
from throughput.measure.feed import Feed
from throughput.pixels import render_sound
from throughput.resuming import Delivered


@dataclass(frozen=True)
class ReplayOptions:
    """batches: how many different batches are held in device memory."""

    batches: int = 2

    def __post_init__(self) -> None:
        if self.batches < 1:
            raise OptionError(f"batches must be 1 or more, got {self.batches}")


class ReplayLoaderFactory(LoaderFactory):
    """Ready batches in device memory, repeated."""

    name = "replay"
    about = "the same few ready batches, repeated: the ceiling for every loader"
    requires = (Requirement("torch", "pip install torch"),)
    Options = ReplayOptions
    ceiling = True

    @contextmanager
    def open(self, work: Work, options: ReplayOptions) -> Iterator[Loader]:
        """Decodes the batches that it will repeat."""
        yield _ReplayLoader(work, options)


class _ReplayLoader(Loader):
    finished = True

    def __init__(self, work: Work, options: ReplayOptions) -> None:
        self.samples_per_epoch = len(epoch_ids(work, 0))
        self._batches_per_epoch = -(-self.samples_per_epoch // work.batch_size)
        self._batches = list(Feed(_FirstBatches(work, options.batches), work).epoch(0))
        if self._batches_per_epoch and not self._batches:
            raise LoaderError(
                f"all images of the first {options.batches} batches are bad: `throughput check` lists them"
            )

    def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - every epoch is the same
        """As many batches as an epoch has, all of them ready."""
        for place in range(self._batches_per_epoch):
            yield self._batches[place % len(self._batches)]


class _FirstBatches(EpochLoader):
    """The first batches of epoch 0, made in this thread; whole ones, whatever becomes of bad samples."""

    endless = False

    def __init__(self, work: Work, batches: int) -> None:
        self._keys = epoch_batches(work, 0)[:batches]
        whole: OnError = "raise" if work.on_error == "raise" else "substitute"
        super().__init__(replace(work, on_error=whole), sum(map(len, self._keys)))

    def _begin(self, first_epoch: int, delivered: Delivered) -> Iterator[Made]:  # noqa: ARG002 - all of it, always
        import torch

        for ids in self._keys:
            encoded = [read_sample(self._work, sample) for sample in ids.tolist()]
            images, faults = render_sound(self._work, first_epoch, ids, encoded)
            yield Made(ids, torch.from_numpy(images), faults)

    def _end(self) -> None:
        """There is nothing to end."""
