"""``replay``: a few real batches again and again. No loader can feed a model faster: it is the ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from throughput.canonical import epoch_batches, epoch_ids
from throughput.contracts import Batch, Loader, LoaderFactory, Requirement, Work
from throughput.errors import OptionError
from throughput.measure.feed import Feed
from throughput.pixels import render_batch


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

    def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - every epoch is the same
        """As many batches as an epoch has, all of them ready."""
        for place in range(self._batches_per_epoch):
            yield self._batches[place % len(self._batches)]


class _FirstBatches(Loader):
    """The first batches of epoch 0, made in this thread."""

    def __init__(self, work: Work, batches: int) -> None:
        self._work = work
        self._keys = epoch_batches(work, 0)[:batches]
        self.samples_per_epoch = sum(map(len, self._keys))

    def epoch(self, index: int) -> Iterator[Batch]:
        import torch

        source = self._work.source
        for ids in self._keys:
            encoded = [source.read(int(sample)) for sample in ids]
            images = torch.from_numpy(render_batch(self._work, index, ids, encoded))
            yield Batch(
                images.permute(0, 3, 1, 2), torch.from_numpy(source.labels[ids]), torch.from_numpy(ids)
            )
