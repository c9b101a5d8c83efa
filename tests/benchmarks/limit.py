"""How fast region decoding could be at best: this decoder's own time for the bytes that crops touch.

The decoder's rate is that of passes over all photos, decoded whole: the median of three. It is measured in
two ways: by one thread while the other cores are idle, and by as many threads as there are cores, which share
caches and memory as a loader's do. Both count CPU time of threads, so neither has waiting in it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from throughput.contracts import Batch, Work
from throughput.jpeg.splice import SPLICED, cut, room_bytes
from throughput.loaders.region_samples import Sample
from throughput.loaders.regions import Renderer, Wanted, Ways
from throughput.measure.feed import finisher

_PASSES = 3


class Limit(NamedTuple):
    """Seconds of one core for an image, and shares of its bytes and pixels, each a mean over train crops."""

    whole_seconds: float
    touched_share: float
    exact_share: float
    resize_seconds: float
    finish_seconds: float
    touched_seconds: float
    exact_seconds: float


class Limits(NamedTuple):
    """The two ways of measuring."""

    one_thread: Limit
    all_cores: Limit


class _Part(NamedTuple):
    """Some photos, their crops, and room for what becomes of them: (N, S, S, C) uint8."""

    samples: list[Sample]
    wanted: list[Wanted]
    out: NDArray[np.uint8]


class _Seconds(NamedTuple):
    """Of each photo: to decode it whole, to resize its crop, to finish it; (N,) each."""

    whole: NDArray[np.float64]
    resize: NDArray[np.float64]
    finish: NDArray[np.float64]


def measure_limits(work: Work) -> Limits:
    """Decode, resize and finish the whole train split, one step at a time."""
    torch.set_num_threads(1)
    ids = work.source.ids("train")
    renderer = Renderer(work, Ways())
    out = np.empty((len(ids), work.image_size, work.image_size, work.channels), np.uint8)
    renderer.render(0, ids[:2], out[:2])
    samples = [sample for sample in renderer.read(ids) if sample.is_jpeg]
    every = _Part(samples, renderer.wanted(0, samples), out[: len(samples)])
    touched, exact = np.array([_shares(*one) for one in zip(every.samples, every.wanted, strict=True)]).T

    def median_of_passes(threads: int) -> Limit:
        passes = [_one_pass(work, every, threads) for _ in range(_PASSES)]
        return middle([_limit(one, touched, exact) for one in passes], statistics.median)

    return Limits(median_of_passes(1), median_of_passes(work.workers))


def middle(limits: Sequence[Limit], of: Callable[[Sequence[float]], float]) -> Limit:
    """Field by field."""
    return Limit(*(of(field) for field in zip(*limits, strict=True)))


def _limit(seconds: _Seconds, touched: NDArray[np.float64], exact: NDArray[np.float64]) -> Limit:
    rest = seconds.resize.mean() + seconds.finish.mean()
    means = (
        seconds.whole.mean(),
        touched.mean(),
        exact.mean(),
        seconds.resize.mean(),
        seconds.finish.mean(),
        (seconds.whole * touched).mean() + rest,
        (seconds.whole * exact).mean() + rest,
    )
    return Limit(*map(float, means))


def _shares(sample: Sample, wanted: Wanted) -> tuple[float, float]:
    """Of the bytes that a crop touches, and of the pixels that it keeps."""
    rows, columns = wanted.rows, wanted.columns
    box = (rows.low, columns.low, rows.high - rows.low, columns.high - columns.low)
    region = cut(sample.data, sample.interval_bytes, box, np.empty(room_bytes(len(sample.data)), np.uint8))
    touched = region.size_bytes / len(sample.data) if region.status == SPLICED else 1.0
    return touched, box[2] * box[3] / (sample.height * sample.width)


def _one_pass(work: Work, every: _Part, threads: int) -> _Seconds:
    """Threads at once, each with a stretch of the photos and memory of its own."""
    ends = [len(every.samples) * (number + 1) // threads for number in range(threads)]
    stretches = [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
    parts = [_Part(every.samples[one], every.wanted[one], every.out[one]) for one in stretches]
    with ThreadPoolExecutor(threads) as pool:
        done = pool.map(lambda part: _seconds(work, part), parts)
        return _Seconds(*map(np.concatenate, zip(*done, strict=True)))


def _seconds(work: Work, part: _Part) -> _Seconds:
    """By one thread."""
    renderer, finish = Renderer(work, Ways()), finisher(work)
    room = np.empty(max(4 * sample.height * sample.width for sample in part.samples), np.uint8)
    room[:] = 0  # so that no page of it is touched for the first time while it is timed
    whole, resize, finished = [], [], []
    for sample, wanted, place in zip(*part, strict=True):
        whole.append(_timed(partial(simplejpeg.decode_jpeg, sample.data, "RGBX", buffer=room)))
        decoded = renderer.decode(renderer.cut(sample, wanted), sample, wanted)
        resize.append(_timed(partial(renderer.transform, decoded, wanted, place)))
    for begin in range(0, len(part.out), work.batch_size):
        images = part.out[begin : begin + work.batch_size]
        ids = torch.arange(len(images))
        given = Batch(torch.from_numpy(images).permute(0, 3, 1, 2), ids, ids)
        if begin == 0:
            finish(given)  # the first one finds no memory
        seconds = _timed(partial(finish, given))
        finished += [seconds / len(images)] * len(images)
    return _Seconds(np.array(whole), np.array(resize), np.array(finished))


def _timed(call: Callable[[], object]) -> float:
    """Seconds of this thread's CPU time."""
    begin = time.thread_time()
    call()
    return time.thread_time() - begin
