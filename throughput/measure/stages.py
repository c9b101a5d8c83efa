"""Where a loader's time goes: seconds of one core, for an image, in each stage of its work.

A loader that offers ``Staged`` times its own stages; any other is timed as a whole. What ``feed`` then
does to make its batches ready is the last stage of both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from throughput.canonical import epoch_ids
from throughput.contracts import Batch, Loader, LoaderFactory, Staged, Work
from throughput.errors import LoaderError
from throughput.measure.balance import FINISH
from throughput.measure.feed import finisher
from throughput.pixels import boxes_of, decode_image, open_image, transform_image

WHOLE = "loader"
"""The one stage of a loader that tells no more: wall-clock seconds, all its workers at work."""

_PILOT_IMAGES, _MOST_IMAGES = 8, 128
_STAGES_SECONDS = 1.0
_WHOLE_SECONDS = 1.0
_FINISH_SECONDS = 0.15
_LEAST_FINISHES = 3

Value = TypeVar("Value")


def time_stages(factory: LoaderFactory, options: Any, work: Work) -> dict[str, float]:
    """Seconds for an image in each stage of ``factory``'s work, by name, in the order of the work.

    ``work`` is as ``prepare`` returned it. Takes a second or two, most of it in one thread; nothing else
    should be measured meanwhile. Raises what the loader raises.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stages = _own_stages(factory, options, work) if isinstance(factory, Staged) else {}
        with factory.open(work, options) as loader:
            if not stages:
                stages, batch = _as_a_whole(loader)
            else:
                batch = _next(loader.epoch(0))
            return stages | {FINISH: _finish_seconds(work, batch)}
    finally:
        torch.set_num_threads(threads)


def render_stage_seconds(
    work: Work, ids: NDArray[np.int64], read: Callable[[], list[bytes]]
) -> dict[str, float]:
    """The stages of a loader that reads encoded images and renders batches by ``throughput.pixels``.

    The steps are those of ``render_batch``, on train epoch 0. collate: writing into a batch and moving that
    into memory that other processes see.
    """
    encoded, read_seconds = core_seconds(read)
    seconds = {"read": read_seconds, "decode": 0.0, "transform": 0.0, "collate": 0.0}
    for begin in range(0, len(ids), work.batch_size):
        part = slice(begin, begin + work.batch_size)
        _render(work, ids[part], encoded[part], seconds)
    return {name: spent / len(ids) for name, spent in seconds.items()}


def core_seconds(call: Callable[[], Value]) -> tuple[Value, float]:
    """What ``call`` returns, and the CPU time that it took of this thread."""
    begin = time.thread_time()
    value = call()
    return value, time.thread_time() - begin


def _render(work: Work, ids: NDArray[np.int64], encoded: list[bytes], seconds: dict[str, float]) -> None:
    size = work.image_size

    @contextmanager
    def within(stage: str) -> Iterator[None]:
        begin = time.thread_time()
        yield
        seconds[stage] += time.thread_time() - begin

    with within("collate"):
        batch = np.empty((len(ids), size, size, work.channels), np.uint8)
    with within("decode"):
        images = [open_image(work, int(sample), data) for sample, data in zip(ids, encoded, strict=True)]
    with within("transform"):
        boxes = boxes_of(work, 0, ids, images)
    images.reverse()
    for place, sample in enumerate(ids):
        with within("decode"):
            image = decode_image(work, int(sample), images.pop())
        with within("transform"):
            pixels = transform_image(work, image, boxes, place)
        with within("collate"):
            batch[place] = pixels
    with within("collate"):
        torch.from_numpy(batch).share_memory_()  # type: ignore[no-untyped-call] # torch types it not


def _own_stages(factory: Staged, options: Any, work: Work) -> dict[str, float]:
    """Timed over as many images as a second allows, once they have been read."""
    ids = epoch_ids(work, 0)[:_MOST_IMAGES]
    stages = factory.stage_seconds(work, options, ids[:_PILOT_IMAGES])
    images = int(_STAGES_SECONDS / max(sum(stages.values()), 1e-9))
    if images <= _PILOT_IMAGES or len(ids) <= _PILOT_IMAGES:
        return stages
    ids = ids[:images]
    for sample in ids:
        work.source.read(int(sample))  # from here on they are in the page cache
    return factory.stage_seconds(work, options, ids)


def _as_a_whole(loader: Loader) -> tuple[dict[str, float], Batch]:
    """Wall-clock seconds for an image, and the last raw batch.

    The first half of the time uses up what lies ready; the second is what the loader delivers.
    """
    begin, epoch = time.perf_counter(), 0
    batches = loader.epoch(epoch)
    settled_seconds, images = 0.0, 0
    while True:
        batch = next(batches, None)
        if batch is None:
            epoch += 1
            batches = loader.epoch(epoch)
            batch = _next(batches)
        spent_seconds = time.perf_counter() - begin
        if settled_seconds == 0.0:
            if spent_seconds >= _WHOLE_SECONDS / 2:
                settled_seconds = spent_seconds
            continue
        images += len(batch.ids)
        if spent_seconds >= _WHOLE_SECONDS:
            return {WHOLE: (spent_seconds - settled_seconds) / images}, batch


def _finish_seconds(work: Work, batch: Batch) -> float:
    """For an image: of one core, or on a GPU from handing the batch over to having it ready."""
    finish = finisher(work)
    on_gpu = torch.device(work.device).type == "cuda"
    clock = time.perf_counter if on_gpu else time.thread_time

    def once() -> float:
        begin = clock()
        with finish.stream():
            ready = finish(batch)
        finish.hand_over(ready)
        if on_gpu:
            torch.cuda.synchronize(work.device)
        return clock() - begin

    once()  # the first one finds no memory and no kernels
    taken = [once() for _ in range(_LEAST_FINISHES)]
    while sum(taken) < _FINISH_SECONDS and len(taken) < 20 * _LEAST_FINISHES:
        taken.append(once())
    return statistics.median(taken) / len(batch.ids)


def _next(batches: Iterator[Batch]) -> Batch:
    batch = next(batches, None)
    if batch is None:
        raise LoaderError("the loader yielded no batch")
    return batch
