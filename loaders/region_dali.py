"""Regions cut on the host and decoded by DALI: a GPU then has fewer bytes to take and to decode."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Work
from throughput.errors import SampleError
from throughput.jpeg.splice import DAMAGES, FOUND, SPLICED, cut, room_bytes
from throughput.loaders.ahead import Encoded, encoded_batch
from throughput.loaders.dali import DaliLoader, DaliOptions


def dali_loader(work: Work, prefetch: int, decode: Literal["cpu", "gpu"]) -> DaliLoader:
    """A DALI pipeline over cut JPEGs."""
    return DaliLoader(work, DaliOptions(prefetch=prefetch, decode=decode), decode, cut_batch)


def cut_batch(
    work: Work, epoch: int, ids: NDArray[np.int64], images: list[tuple[bytes, int, int]]
) -> Encoded:
    """A batch in which each train crop's JPEG holds little more than the crop. Raises SampleError."""
    whole = encoded_batch(work, epoch, ids, images)
    if work.centred:
        return whole  # the filter looks beyond the centre, and what it needs is nearly the whole image
    start = whole.regions.start.copy()
    data = []
    for place, sample_id in enumerate(ids.tolist()):
        kept = work.source.kept(sample_id)
        lengths = FOUND if kept is None else kept.interval_bytes
        (top, left), (height, width) = whole.regions.start[place], whole.regions.shape[place]
        room = np.empty(room_bytes(len(whole.data[place])), np.uint8)
        _, image_height, image_width = images[place]
        size = (image_height, image_width)
        region = cut(whole.data[place], lengths, (int(top), int(left), int(height), int(width)), room, size)
        if region.status < 0:
            raise SampleError(work.source.describe(sample_id), DAMAGES[region.status])
        if region.status == SPLICED:
            data.append(room[: region.size_bytes].copy())
            start[place] -= (region.top, region.left)
        else:
            data.append(whole.data[place])
    return Encoded(ids, data, whole.regions._replace(start=start))
