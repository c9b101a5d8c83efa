"""One cell of a drill: a loader, over a source with a fault in it, for one epoch in a process of its own."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Batch, Fault, OnError, Work
from throughput.drill.planting import Swap
from throughput.drill.processes import Moment, NotApplicableError, ProcessFault, limits_restored
from throughput.errors import UnknownNameError
from throughput.measure.events import Finished, Tell
from throughput.options import build_options
from throughput.registry import load_loader, missing_requirements
from throughput.sources import open_source
from throughput.sources.splits import all_held_out

if TYPE_CHECKING:
    from torch import Tensor

Ended = Literal["whole", "error", "not applicable", "died", "hung"]
_NO_IDS = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Delivered:
    """What came of a cell.

    ended: ``whole`` where the epoch came to its end. words: the error's, or why there is nothing.
    ids, labels: (M,) int64. images: (M, S, S, C) float32, in grey levels. sizes: of each batch.
    named: bad samples told of.
    seconds: from the opening to the end of the epoch, or to the error.
    largest_error: grey levels by which a whole image may differ, on average, from the reference.
    """

    ended: Ended
    words: str = ""
    ids: NDArray[np.int64] = field(default_factory=lambda: _NO_IDS)
    labels: NDArray[np.int64] = field(default_factory=lambda: _NO_IDS)
    images: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 1, 1, 3), np.float32))
    sizes: tuple[int, ...] = ()
    named: tuple[Fault, ...] = ()
    seconds: float = 0.0
    largest_error: float = 0.0


@dataclass(frozen=True)
class Cell:
    """What a fresh process is to do. later: swaps once the source is open. cache: where copies are kept."""

    loader: str
    data: Path
    policy: OnError
    size: int
    batch_size: int
    workers: int
    device: str
    seed: int
    cache: Path
    later: tuple[Swap, ...] = ()
    act: ProcessFault | None = None

    needs: ClassVar[tuple[str, ...]] = ("numba", "throughput.drill.cell", "throughput.certificate.heldout")

    def carry_out(self, tell: Tell) -> None:
        """Run the epoch."""
        tell(Finished(deliver(self)))

    def failed(self, reason: str) -> Delivered:
        """What is known where the process died without a word."""
        return Delivered("died", reason)


@dataclass
class _Seen:
    """What has come so far: an error must not take it away."""

    ids: list[NDArray[np.int64]] = field(default_factory=list)
    labels: list[NDArray[np.int64]] = field(default_factory=list)
    images: list[NDArray[np.float32]] = field(default_factory=list)
    named: list[Fault] = field(default_factory=list)
    begin_seconds: float = 0.0
    largest_error: float = 0.0

    def delivered(self, ended: Ended, words: str = "") -> Delivered:
        seconds = time.perf_counter() - self.begin_seconds if self.begin_seconds else 0.0
        named = tuple(self.named)
        if not self.ids:
            return Delivered(ended, words, named=named, seconds=seconds, largest_error=self.largest_error)
        joined = (np.concatenate(self.ids), np.concatenate(self.labels), np.concatenate(self.images))
        sizes = tuple(map(len, self.ids))
        return Delivered(ended, words, *joined, sizes, named, seconds, self.largest_error)


def deliver(cell: Cell) -> Delivered:
    """Run a cell in this process; whatever is raised is told of."""
    import torch

    from throughput.measure.environment import usable_cores

    os.environ["THROUGHPUT_CACHE"] = str(cell.cache)
    torch.set_num_threads(usable_cores())
    seen = _Seen()
    with limits_restored():
        try:
            _run(cell, seen)
        except NotApplicableError as error:
            ended: tuple[Ended, str] = ("not applicable", str(error))
        except Exception as error:  # noqa: BLE001 - a backend may fail in any way, and it is judged
            ended = ("error", " ".join(f"{type(error).__name__}: {error}".split()))
        else:
            ended = ("whole", "")
    return seen.delivered(*ended)


def _run(cell: Cell, seen: _Seen) -> None:
    from throughput.certificate.heldout import limits_for

    try:
        factory = load_loader(cell.loader)
    except UnknownNameError as error:
        raise NotApplicableError(str(error)) from error
    if factory.ceiling:
        raise NotApplicableError("it repeats samples on purpose")
    if missing := missing_requirements(factory):
        raise NotApplicableError("; ".join(f"{one.module} is missing: {one.install}" for one in missing))
    source = open_source(cell.data)
    for swap in cell.later:
        swap.carry_out()
    work = Work(
        all_held_out(source),
        "val",
        image_size=cell.size,
        batch_size=cell.batch_size,
        workers=cell.workers,
        device=cell.device,
        seed=cell.seed,
        on_error=cell.policy,
        max_errors=len(source.labels),
    )
    reason = factory.why_not(work) if factory.takes_work else "it reads what it likes, whatever the work"
    if reason is not None:
        raise NotApplicableError(reason)
    options = build_options(factory, {})
    seen.largest_error = limits_for(factory.decode(work, options)).worst
    with limits_restored():
        _act(cell, "prepare")
        prepared = factory.prepare(work, options)
    if cell.act is not None and cell.act.warm:
        with factory.open(prepared.work, options) as loader:
            next(iter(loader.epoch(0)))
    _act(cell, "open")
    seen.begin_seconds = time.perf_counter()
    with factory.open(prepared.work, options) as loader:
        try:
            for place, batch in enumerate(loader.epoch(0)):
                _look(batch, work, seen)
                if place == 0:
                    _act(cell, "first batch")
        finally:
            seen.named += loader.take_faults()


def _act(cell: Cell, moment: Moment) -> None:
    if cell.act is not None and cell.act.moment == moment:
        cell.act.act()


def _look(batch: Batch, work: Work, seen: _Seen) -> None:
    """Keep a batch's ids, labels and pixels, in memory of our own."""
    from throughput.measure.feed import require_shape

    require_shape(batch, work)
    seen.ids.append(batch.ids.numpy().copy())
    seen.labels.append(batch.labels.cpu().numpy().copy())
    seen.images.append(_levels(batch.images, work))


def _levels(images: Tensor, work: Work) -> NDArray[np.float32]:
    """A loader's images, (N, C, S, S), in grey levels: (N, S, S, C)."""
    host: Any = images.cpu().permute(0, 2, 3, 1)
    if not images.is_floating_point():
        return np.array(host.numpy(), np.float32)
    scale, shift = (255 * np.array(values, np.float32) for values in (work.std, work.mean))
    return np.asarray(host.float().numpy() * scale + shift)
