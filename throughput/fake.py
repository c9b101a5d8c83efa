"""A loader and a model whose speed is chosen, to see whether what is measured is what is so.

``throughput.testing:FakeLoaderFactory`` and ``throughput.testing:sleep_50ms`` are names that
``throughput bench`` takes as ``--loader`` and ``--model``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from throughput.canonical import epoch_batches, epoch_ids
from throughput.contracts import Batch, Loader, LoaderFactory, Work
from throughput.errors import OptionError

_BURNT_BYTES = bytes(1 << 18)
"""Hashed over and over to keep a core busy: hashlib lets go of the interpreter's lock meanwhile."""

_LATE_SECONDS = 0.010


@dataclass(frozen=True)
class FakeOptions:
    """How fast the batches come, how they are made, and what is wrong with them.

    batch_seconds: slept for each batch, exact by the clock if inline. busy_seconds: CPU time burnt for each.
    prefetch: batches that each worker keeps ready or under way. inline: made in the caller's thread, only
    when asked for. drop, repeat: samples lost and doubled in every epoch.
    """

    batch_seconds: float = 0.0
    busy_seconds: float = 0.0
    prefetch: int = 2
    inline: bool = False
    drop: int = 0
    repeat: int = 0

    def __post_init__(self) -> None:
        if self.prefetch < 1:
            raise OptionError(f"prefetch must be 1 or more, got {self.prefetch}")
        if min(self.batch_seconds, self.busy_seconds) < 0:
            raise OptionError(
                "batch_seconds and busy_seconds must be 0 or more, "
                f"got {self.batch_seconds} and {self.busy_seconds}"
            )


class FakeLoaderFactory(LoaderFactory):
    """Black images at a chosen speed, with the faults that a ledger must find."""

    name = "fake"
    about = "black images at a chosen speed, for tests"
    Options = FakeOptions

    @contextmanager
    def open(self, work: Work, options: FakeOptions) -> Iterator[Loader]:
        """Threads start with the first batch, one for each worker, and end with the context."""
        loader = _FakeLoader(work, options)
        try:
            yield loader
        finally:
            loader.close()


def delay(seconds: float) -> None:
    """Return when so much time has gone by on the clock.

    A virtual machine may wake a sleeper several milliseconds late, and later after some lengths of sleep than
    after others: the last part is spent watching the clock.
    """
    end = time.perf_counter() + seconds
    time.sleep(max(0.0, seconds - _LATE_SECONDS))
    while time.perf_counter() < end:
        pass


class _Key(NamedTuple):
    """A batch to make: its place in its epoch and its ids, (N,) int64."""

    place: int
    ids: NDArray[np.int64]


class _FakeLoader(Loader):
    def __init__(self, work: Work, options: FakeOptions) -> None:
        self._work = work
        self._options = options
        self.samples_per_epoch = len(epoch_ids(work, 0))
        self._batches_per_epoch = len(epoch_batches(work, 0))
        size = work.image_size
        self._images = torch.zeros((work.batch_size, size, size, work.channels), dtype=torch.uint8)
        self._threads: _Threads | None = None
        self._ready_for: int | None = None
        self._wake: SimpleQueue[None] = SimpleQueue()

    def epoch(self, index: int) -> Iterator[Batch]:
        """Continues with what was made ahead where ``index`` is the next epoch."""
        if self._options.inline:
            yield from map(self._make, self._keys(index))
            return
        if self._threads is None or self._ready_for != index:
            self.close()
            ahead = self._options.prefetch * self._work.workers
            self._threads = _Threads(self._make, self._endless_keys(index), self._work.workers)
            # Known before they run: whoever closes the loader meanwhile can end them.
            self._threads.start(ahead)
        self._ready_for = None  # unless this epoch is read to its end
        yield from islice(self._threads, self._batches_per_epoch)
        if self._work.split == "train":
            self._ready_for = index + 1

    def close(self) -> None:
        """End the threads at once, those that sleep too."""
        if self._threads is not None:
            for _ in range(self._work.workers):
                self._wake.put(None)
            self._threads.close()
            self._threads, self._wake = None, SimpleQueue()

    def _keys(self, epoch: int) -> Iterator[_Key]:
        return (_Key(place, ids) for place, ids in enumerate(epoch_batches(self._work, epoch)))

    def _endless_keys(self, first_epoch: int) -> Iterator[_Key]:
        """Train epochs without end; one val epoch."""
        epochs = count(first_epoch) if self._work.split == "train" else (first_epoch,)
        return (key for epoch in epochs for key in self._keys(epoch))

    def _make(self, key: _Key) -> Batch:
        options, ids = self._options, key.ids
        if options.inline:
            delay(options.batch_seconds)
        elif options.batch_seconds and self._woken_within(options.batch_seconds):
            return Batch(self._images[:0], self._images[:0], self._images[:0])  # nobody waits for it
        burn(options.busy_seconds)
        images = self._images[: len(ids)]
        if key.place == 0 and (options.drop or options.repeat):
            ids = np.concatenate([ids[options.drop :], ids[options.drop :][: options.repeat]])
            images = self._images.new_zeros((len(ids), *self._images.shape[1:]))
        labels = torch.from_numpy(self._work.source.labels[ids])
        return Batch(images.permute(0, 3, 1, 2), labels, torch.from_numpy(ids))

    def _woken_within(self, seconds: float) -> bool:
        """Sleep, unless the loader is closed meanwhile."""
        try:
            self._wake.get(timeout=seconds)
        except Empty:
            return False
        return True


class _Threads(Iterator[Batch]):
    """Threads that make batches in the keys' order, so many ahead of what is asked for."""

    def __init__(self, make: Callable[[_Key], Batch], keys: Iterator[_Key], threads: int) -> None:
        self._make = make
        self._keys = enumerate(keys)
        self._wanted: SimpleQueue[tuple[int, _Key] | None] = SimpleQueue()
        self._made: SimpleQueue[tuple[int, Batch | Exception]] = SimpleQueue()
        self._early: dict[int, Batch | Exception] = {}
        self._given = self._asked = 0
        self._closed = False
        self._pool = [Thread(target=self._serve, name="throughput-fake", daemon=True) for _ in range(threads)]

    def start(self, ahead: int) -> None:
        """Start the threads, with so many batches to make."""
        for thread in self._pool:
            thread.start()
        for _ in range(ahead):
            self._ask()

    def __next__(self) -> Batch:
        if self._given == self._asked:
            raise StopIteration
        while self._given not in self._early:
            number, made = self._made.get()
            self._early[number] = made
        batch = self._early.pop(self._given)
        self._given += 1
        self._ask()
        if isinstance(batch, Exception):
            raise batch
        return batch

    def close(self) -> None:
        """End the threads; each finishes the batch that it is at."""
        self._closed = True
        for _ in self._pool:
            self._wanted.put(None)
        for thread in self._pool:
            thread.join()

    def _ask(self) -> None:
        numbered = next(self._keys, None)
        if numbered is not None:
            self._wanted.put(numbered)
            self._asked += 1

    def _serve(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._closed:
            number, key = wanted
            try:
                self._made.put((number, self._make(key)))
            except Exception as error:  # noqa: BLE001 - raised again where the batch is waited for
                self._made.put((number, error))


def burn(seconds: float) -> None:
    """Use so much CPU time of this thread, without holding the interpreter's lock for long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(_BURNT_BYTES)


class SleepingModel(torch.nn.Module):
    """A linear head over a corner of the image, to logits (N, num_classes); sleeps in each training step."""

    def __init__(self, num_classes: int, channels: int, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._head = torch.nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, channels, S, S), floating. In ``eval`` mode nothing is slept."""
        if self.training:
            time.sleep(self._seconds)
        # Two pixels for each image stand for all: reading the whole of it would be work.
        logits: torch.Tensor = self._head(images[:, :, 0, :2].mean(dim=2))
        return logits


sleep_10ms = partial(SleepingModel, seconds=0.01)
sleep_50ms = partial(SleepingModel, seconds=0.05)
sleep_200ms = partial(SleepingModel, seconds=0.2)
