"""``torchvision``: torch's DataLoader over single images, with the pixels of torchvision's transforms.

The pixels are those of torchvision's RandomResizedCrop (or Resize and CenterCrop) on Pillow images. What
is done better than in the usual recipe: workers hand over uint8, a quarter of float32's bytes; batches
are made whole in the workers, without collating; and the workers go on into the next epoch instead
of starting cold at its boundary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING

from throughput.bad_samples import read_sample
from throughput.canonical import epoch_batches, epoch_ids
from throughput.contracts import Fault, Held, Loader, LoaderFactory, Requirement, Work
from throughput.errors import SampleError
from throughput.loaders.epochs import EpochLoader, Made
from throughput.loaders.workers import (
    PREFETCHES,
    WorkerOptions,
    end_workers,
    held_by_workers,
    items,
    shared,
    worker_loader,
)
from throughput.pixels import render_sound
from throughput.resuming import NOTHING, Delivered
from throughput.sources.ahead import told_ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Key = tuple[int, NDArray[np.int64]]


class TorchvisionLoaderFactory(LoaderFactory):
    """torch's DataLoader with worker processes."""

    name = "torchvision"
    about = "DataLoader with worker processes, Pillow decoding, the pixels of torchvision's transforms"
    requires = (Requirement("torch", "pip install torch"),)
    Options = WorkerOptions

    @contextmanager
    def open(self, work: Work, options: WorkerOptions) -> Iterator[Loader]:
        """Worker processes start with the first batch and end with the context."""
        loader = _DataLoaderLoader(work, options)
        try:
            yield loader
        finally:
            loader.close()

    def stage_seconds(self, work: Work, options: WorkerOptions, ids: NDArray[np.int64]) -> dict[str, float]:  # noqa: ARG002 - part of the contract
        """What a worker does with ``ids``."""
        from throughput.measure.stages import render_stage_seconds

        return render_stage_seconds(work, ids, lambda: [work.source.read(int(sample)) for sample in ids])

    def tunable(self, work: Work, options: WorkerOptions) -> Mapping[str, Sequence[int]]:  # noqa: ARG002 - part of the contract
        """How far the workers go ahead."""
        return {"prefetch": PREFETCHES}

    def held(self, work: Work, options: WorkerOptions) -> Held:
        """In shared memory, all of it."""
        return held_by_workers(work.workers, options.prefetch)


class _Images:
    """A map-style dataset whose items are whole batches, keyed by (epoch, ids)."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __getitem__(self, key: Key) -> tuple[NDArray[np.int64], Tensor, list[Fault]] | SampleError:
        """Ids, (N, S, S, C) uint8 and what is bad. An error is a value: torch would lose its type."""
        import torch

        epoch, ids = key
        try:
            encoded = [read_sample(self._work, sample) for sample in ids.tolist()]
            images, faults = render_sound(self._work, epoch, ids, encoded)
            return ids, shared(torch.from_numpy(images)), faults
        except SampleError as error:
            return error


class _Keys:
    """The sampler: batch keys of one val epoch, or of train epochs without end."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.first_epoch = 0
        self.delivered = NOTHING

    def __iter__(self) -> Iterator[Key]:
        epochs = count(self.first_epoch) if self._work.split == "train" else (self.first_epoch,)
        keys = ((epoch, ids) for epoch in epochs for ids in epoch_batches(self._work, epoch, self.delivered))
        # In this process, which knows the order: workers find the bytes on the local disk.
        yield from told_ahead(self._work.source, keys, itemgetter(1))


class _DataLoaderLoader(EpochLoader):
    def __init__(self, work: Work, options: WorkerOptions) -> None:
        super().__init__(work, len(epoch_ids(work, 0)))
        self._keys = _Keys(work)
        self._workers = worker_loader(_Images(work), work, options, self._keys)

    def _begin(self, first_epoch: int, delivered: Delivered) -> Iterator[Made]:
        self._keys.first_epoch, self._keys.delivered = first_epoch, delivered
        return (Made(*item) for item in items(iter(self._workers)))

    def _end(self) -> None:
        end_workers(self._workers)
