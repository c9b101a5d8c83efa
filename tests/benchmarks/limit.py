"""How fast region decoding could be at best: this decoder's own time for the bytes that crops touch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch

from throughput.contracts import Batch, Work
from throughput.jpeg.splice import SPLICED, cut, room_bytes
from throughput.loaders.regions import Renderer, Ways
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


def measure_limit(work: Work) -> Limit:
    """Decode, resize and finish the whole train split in one thread, one step at a time."""
    torch.set_num_threads(1)
    ids = work.source.ids("train")
    renderer = Renderer(work, Ways())
    out = np.empty((len(ids), work.image_size, work.image_size, work.channels), np.uint8)
    renderer.render(0, ids[:2], out[:2])
    samples = [sample for sample in renderer.read(ids) if sample.is_jpeg]
    wanted = renderer.wanted(0, samples)
    room = np.empty(max(4 * sample.height * sample.width for sample in samples), np.uint8)
    spliced = np.empty(max(room_bytes(len(sample.data)) for sample in samples), np.uint8)
    whole = touched = exact = resize = 0.0
    touched_bytes = kept_pixels = 0.0
    for sample, one, place in zip(samples, wanted, out, strict=False):
        seconds = _fastest(lambda s=sample: simplejpeg.decode_jpeg(s.data, "RGBX", buffer=room))
        box = (
            one.rows.low,
            one.columns.low,
            one.rows.high - one.rows.low,
            one.columns.high - one.columns.low,
        )
        region = cut(sample.data, sample.interval_bytes, box, spliced)
        share = region.size_bytes / len(sample.data) if region.status == SPLICED else 1.0
        pixels = box[2] * box[3] / (sample.height * sample.width)
        whole += seconds
        touched += seconds * share
        exact += seconds * pixels
        touched_bytes += share
        kept_pixels += pixels
        encoded = renderer.cut(sample, one)
        decoded = renderer.decode(encoded, sample, one)
        resize += _fastest(lambda d=decoded, w=one, p=place: renderer.transform(d, w, p))
    count = len(samples)
    finish = _finish_seconds(work, out)
    rest = resize / count + finish
    return Limit(
        whole / count,
        touched_bytes / count,
        kept_pixels / count,
        resize / count,
        finish,
        touched / count + rest,
        exact / count + rest,
    )


def _finish_seconds(work: Work, images: np.ndarray) -> float:
    finish = finisher(work)
    batch = images[: work.batch_size]
    ids = torch.arange(len(batch))
    given = Batch(torch.from_numpy(batch).permute(0, 3, 1, 2), ids, ids)
    return min(_fastest(lambda: finish(given)) for _ in range(5)) / len(batch)


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of this thread's CPU time."""
    taken = []
    for _ in range(_REPEATS):
        begin = time.thread_time()
        call()
        taken.append(time.thread_time() - begin)
    return min(taken)
