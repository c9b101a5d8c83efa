"""How fast region decoding could be at best: this decoder's own time for the bytes that crops touch.

It is measured in two ways. ``hot`` is the fastest of three calls in a row for each photo, in one thread while
the other cores are idle: its bytes lie in the core's cache, and the core has just seen them. ``passes`` are
whole passes over all photos by as many threads as there are cores, as a loader meets them: the median of
three. Both count CPU time of threads, so neither has waiting in it.
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

_REPEATS = 3


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

    hot: Limit
    passes: Limit


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
    hot = _seconds(work, every, _REPEATS)
    passes = [_one_pass(work, every) for _ in range(_REPEATS)]
    return Limits(
        _limit(hot, hot.finish.min(), touched, exact),
        middle([_limit(one, one.finish.mean(), touched, exact) for one in passes], statistics.median),
    )


def middle(limits: Sequence[Limit], of: Callable[[Sequence[float]], float]) -> Limit:
    """Field by field."""
    return Limit(*(of(field) for field in zip(*limits, strict=True)))


def _limit(
    seconds: _Seconds, finish_seconds: float, touched: NDArray[np.float64], exact: NDArray[np.float64]
) -> Limit:
    rest = seconds.resize.mean() + finish_seconds
    means = (
        seconds.whole.mean(),
        touched.mean(),
        exact.mean(),
        seconds.resize.mean(),
        finish_seconds,
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


def _one_pass(work: Work, every: _Part) -> _Seconds:
    """All cores at once, each with a stretch of the photos and memory of its own."""
    ends = [len(every.samples) * (core + 1) // work.workers for core in range(work.workers)]
    stretches = [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
    parts = [_Part(every.samples[one], every.wanted[one], every.out[one]) for one in stretches]
    with ThreadPoolExecutor(work.workers) as pool:
        done = pool.map(lambda part: _seconds(work, part, 1), parts)
        return _Seconds(*map(np.concatenate, zip(*done, strict=True)))


def _seconds(work: Work, part: _Part, repeats: int) -> _Seconds:
    """By one thread. repeats: calls in a row, of which the fastest counts."""
    renderer, finish = Renderer(work, Ways()), finisher(work)
    room = np.empty(max(4 * sample.height * sample.width for sample in part.samples), np.uint8)
    room[:] = 0  # so that no page of it is touched for the first time while it is timed
    whole, resize, finished = [], [], []
    for sample, wanted, place in zip(*part, strict=True):
        whole.append(_fastest(partial(simplejpeg.decode_jpeg, sample.data, "RGBX", buffer=room), repeats))
        decoded = renderer.decode(renderer.cut(sample, wanted), sample, wanted)
        resize.append(_fastest(partial(renderer.transform, decoded, wanted, place), repeats))
    for begin in range(0, len(part.out), work.batch_size):
        images = part.out[begin : begin + work.batch_size]
        ids = torch.arange(len(images))
        given = Batch(torch.from_numpy(images).permute(0, 3, 1, 2), ids, ids)
        if begin == 0:
            finish(given)  # the first one finds no memory
        seconds = _fastest(partial(finish, given), repeats)
        finished += [seconds / len(images)] * len(images)
    return _Seconds(np.array(whole), np.array(resize), np.array(finished))


def _fastest(call: Callable[[], object], repeats: int) -> float:
    """Seconds of this thread's CPU time."""
    taken = []
    for _ in range(repeats):
        begin = time.thread_time()
        call()
        taken.append(time.thread_time() - begin)
    return min(taken)
