"""Loaders that do with bad samples what no loader may, and one that does what it is told."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from throughput.canonical import epoch_batches, epoch_ids
from throughput.contracts import Batch, Fault, Loader, LoaderFactory, Work
from throughput.errors import SampleError
from throughput.pixels import render_batch


class Made(NamedTuple):
    """id: what it comes as. shown: whose image it is, (S, S, 3) uint8."""

    id: int
    shown: int
    image: NDArray[np.uint8]


class Honest(LoaderFactory):
    """Raises, leaves out or replaces bad samples, as the work says."""

    name = "honest"

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
        yield _Loader(work, self)

    def bad(self, loader: _Loader, sample: int, error: SampleError, good: list[Made]) -> Made | None:
        """What stands in for a bad sample in its batch, given what is in it already."""
        if loader.work.on_error == "raise":
            raise error
        loader.faults.append(Fault(sample, error.sample, error.cause))
        return None if loader.work.on_error == "skip" else good[0]._replace(id=-1)


class _Loader(Loader):
    def __init__(self, work: Work, factory: Honest) -> None:
        self.work = work
        self.samples_per_epoch = len(epoch_ids(work, 0))
        self.faults: list[Fault] = []
        self._factory = factory

    def epoch(self, index: int) -> Iterator[Batch]:
        for ids in epoch_batches(self.work, index):
            made: list[Made] = []
            bad: list[tuple[int, SampleError]] = []
            for sample in ids.tolist():
                try:
                    one = np.array([sample], np.int64)
                    data = self.work.source.read(sample)
                    made.append(Made(sample, sample, render_batch(self.work, index, one, [data])[0]))
                except SampleError as error:
                    bad.append((sample, error))
            made += [one for each in bad if (one := self._factory.bad(self, *each, made)) is not None]
            came = np.array([one.id for one in made], np.int64)
            images = torch.from_numpy(np.stack([one.image for one in made])).permute(0, 3, 1, 2)
            labels = self.work.source.labels[[one.shown for one in made]]
            yield Batch(images, torch.from_numpy(labels), torch.from_numpy(came))

    def take_faults(self) -> list[Fault]:
        taken, self.faults = self.faults, []
        return taken


class Drops(Honest):
    """Leaves bad samples out and says nothing."""

    def bad(self, *_: Any) -> None:
        return None


class Grey(Honest):
    """Delivers grey for what it cannot decode."""

    def bad(self, loader: _Loader, sample: int, error: SampleError, good: list[Made]) -> Made:  # noqa: ARG002 - as others take it
        return Made(sample, sample, np.full_like(good[0].image, 128))


class Repeats(Honest):
    """Delivers another sample once more in a bad one's place, under its own id."""

    def bad(self, loader: _Loader, sample: int, error: SampleError, good: list[Made]) -> Made:
        super().bad(loader, sample, error, good)
        return good[0]


class Nameless(Honest):
    """Says that something is wrong, and not with what."""

    def bad(self, *_: Any) -> NoReturn:
        raise RuntimeError("an image cannot be decoded")


class Blames(Honest):
    """Names another sample than the bad one."""

    def bad(self, loader: _Loader, sample: int, error: SampleError, good: list[Made]) -> Made | None:
        other = loader.work.source.describe(good[0].id)
        return super().bad(loader, sample, SampleError(other, error.cause), good)


class Hangs(Honest):
    """Waits for what never comes."""

    def bad(self, *_: Any) -> NoReturn:
        threading.Event().wait()
        raise AssertionError


class Crashes(Honest):
    """Ends by a signal, as a decoder does that reads where it must not."""

    def bad(self, *_: Any) -> NoReturn:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError
