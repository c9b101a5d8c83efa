"""Batches of regions: rendered by threads of this process, or by processes of several threads each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import count, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from throughput.canonical import epoch_batches
from throughput.contracts import Fault, Work
from throughput.errors import OptionError, SampleError, ThroughputError
from throughput.loaders.beginning import Beginning
from throughput.loaders.epochs import EpochLoader, Made
from throughput.loaders.order import advised_batches, streamed_batches
from throughput.loaders.regions import Renderer, Ways, compile_kernels
from throughput.loaders.workers import end_workers, items, shared, worker_loader
from throughput.memory import ReusedMemory
from throughput.resuming import NOTHING, Delivered
from throughput.sources.ahead import told_ahead
from throughput.sources.shards import ShardSource
from throughput.threads import in_threads

if TYPE_CHECKING:
    from throughput.loaders.roi import RoiOptions

_Ids = Iterable[NDArray[np.int64]]
_CHUNK = 32
"""Images that a thread makes in one go: their crops are drawn together, and they are handed over at once."""


def open_loader(work: Work, options: RoiOptions, processes: int) -> ThreadLoader | ProcessLoader:
    """The loader of this process's threads, or of several processes. Raises OptionError."""
    if options.order == "stream" and not isinstance(work.source, ShardSource):
        raise OptionError(
            f"roi.order=stream reads shard by shard, and {work.source.location} is not shards: run "
            f"throughput pack --restart {work.source.location} OUT and give OUT as --data, or leave it out"
        )
    compile_kernels()
    with suppress(SampleError):  # told in its place, as bad samples are
        work.source.kept_of(work.source.ids(work.split)[:1])  # read here once, for all threads and forks
    return ThreadLoader(work, options) if processes == 1 else ProcessLoader(work, options, processes)


def new_renderer(work: Work, options: RoiOptions) -> Renderer:
    """What one thread works with."""
    return Renderer(work, Ways(options.region, options.dct_scale))


def _batches(
    work: Work,
    options: RoiOptions,
    epoch: int,
    delivered: Delivered = NOTHING,
    streamed: Callable[..., _Ids] = streamed_batches,
) -> _Ids:
    """This rank's batches of an epoch, ids (N,) int64 each. streamed: those that read shard by shard."""
    if work.split == "train" and options.order == "stream" and isinstance(work.source, ShardSource):
        return streamed(work, work.source, epoch, options.shuffle, delivered)
    return epoch_batches(work, epoch, delivered)


class _Task(NamedTuple):
    """Some images of a batch, and where they go. out: (n, S, S, C) uint8."""

    epoch: int
    ids: NDArray[np.int64]
    out: NDArray[np.uint8]


class _Rendered:
    """Batches rendered by threads ahead of whoever iterates: (ids, (N, S, S, C) uint8)."""

    def __init__(self, work: Work, options: RoiOptions, threads: int, *, pin: bool) -> None:
        self._work = work
        self._options = options
        self._threads = threads
        self._pin = pin
        self._memory = ReusedMemory()
        self._local = threading.local()

    def run(self, keys: Iterator[tuple[int, NDArray[np.int64]]]) -> Generator[Made, None, None]:
        """Render the batches of ``keys``, (epoch, ids), in order."""
        chunk = max(1, min(_CHUNK, self._work.batch_size // self._threads))
        chunks_a_batch = -(-self._work.batch_size // chunk)
        under_way = max(2 * self._threads, self._options.prefetch * chunks_a_batch)
        batches: list[tuple[NDArray[np.int64], Tensor, int]] = []

        def tasks() -> Iterator[_Task]:
            for epoch, ids in keys:
                images = self._room(len(ids))
                parts = range(0, len(ids), chunk)
                batches.append((ids, images, len(parts)))
                out = images.numpy()
                for begin in parts:
                    yield _Task(epoch, ids[begin : begin + chunk], out[begin : begin + chunk])

        with closing(in_threads(self._render, tasks(), self._threads, under_way)) as done:
            while (faults := next(done, None)) is not None:
                ids, images, parts = batches.pop(0)
                for _ in range(parts - 1):
                    faults += next(done)
                yield Made(ids, images, faults)
                del images  # for as long as it is named here, its memory would not be used again

    def _room(self, count: int) -> Tensor:
        work = self._work
        shape = (count, work.image_size, work.image_size, work.channels)
        if self._pin:
            # torch keeps pinned memory, and gives it out again once transfers from it have ended.
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        elements = count * work.image_size * work.image_size * work.channels
        return self._memory.take(elements, torch.uint8).view(shape)

    def _render(self, task: _Task) -> list[Fault]:
        renderer = getattr(self._local, "renderer", None)
        if renderer is None:
            renderer = self._local.renderer = new_renderer(self._work, self._options)
        faults: list[Fault] = renderer.render(task.epoch, task.ids, task.out)
        return faults


def _samples(work: Work, options: RoiOptions, epoch: int = 0, delivered: Delivered = NOTHING) -> int:
    return sum(len(ids) for ids in _batches(work, options, epoch, delivered))


class ThreadLoader(EpochLoader):
    """Threads of this process."""

    def __init__(self, work: Work, options: RoiOptions) -> None:
        super().__init__(work, _samples(work, options))
        self._options = options
        self._rendering: Generator[Made, None, None] | None = None
        self._rendered = _Rendered(work, options, work.workers, pin=work.device.startswith("cuda"))

    def _samples_left(self, delivered: Delivered) -> int:
        return _samples(self._work, self._options, delivered.epoch, delivered)

    def _begin(self, first_epoch: int, delivered: Delivered) -> Iterator[Made]:
        self._end()
        self._rendering = self._rendered.run(_keys(self._work, self._options, first_epoch, delivered, 0, 1))
        return self._rendering

    def _end(self) -> None:
        if self._rendering is not None:
            self._rendering.close()
        self._rendering = None


class ProcessLoader(EpochLoader):
    """Processes of several threads each, which take turns with the batches."""

    def __init__(self, work: Work, options: RoiOptions, processes: int) -> None:
        super().__init__(work, _samples(work, options))
        self._options = options
        self._stream = _Stream(work, options, processes)
        self._workers = worker_loader(self._stream, replace(work, workers=processes), options)

    def _samples_left(self, delivered: Delivered) -> int:
        return _samples(self._work, self._options, delivered.epoch, delivered)

    def _begin(self, first_epoch: int, delivered: Delivered) -> Iterator[Made]:
        self._stream.beginning.set(first_epoch, delivered)
        return (Made(*item) for item in items(iter(self._workers)))

    def _end(self) -> None:
        end_workers(self._workers)


class _Stream(IterableDataset[Any]):
    """What one worker process yields: its share of the batches, one in ``processes``."""

    def __init__(self, work: Work, options: RoiOptions, processes: int) -> None:
        self._work = work
        self._options = options
        self._processes = processes
        self.beginning = Beginning(len(work.source.labels))

    def __iter__(self) -> Iterator[Made | ThroughputError]:
        worker = get_worker_info()
        number = worker.id if worker else 0
        work, options = self._work, self._options
        threads = work.workers * (number + 1) // self._processes - work.workers * number // self._processes
        keys = _keys(work, options, *self.beginning.get(), number, self._processes)
        try:
            with closing(_Rendered(work, options, threads, pin=False).run(keys)) as rendered:
                for made in rendered:
                    yield made._replace(images=shared(made.images))
        except ThroughputError as error:
            yield error


def _keys(
    work: Work, options: RoiOptions, first_epoch: int, delivered: Delivered, taker: int, takers: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Every ``takers``-th (epoch, ids) of one val epoch, or of train epochs without end."""
    epochs = count(first_epoch) if work.split == "train" else (first_epoch,)
    # One tells the kernel, or a source that is far away, what to read for all.
    streamed = advised_batches if taker == 0 else streamed_batches
    every: Iterator[tuple[int, NDArray[np.int64]]] = (
        (epoch, ids) for epoch in epochs for ids in _batches(work, options, epoch, delivered, streamed)
    )
    if taker == 0:
        every = told_ahead(work.source, every, itemgetter(1))
    return islice(every, taker, None, takers)
