"""Regions cut on the host and decoded by DALI: a GPU then has fewer bytes to take and to decode."""

from __future__ import annotations

from contextlib import closing
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Work
from throughput.errors import SampleError
from throughput.jpeg.splice import DAMAGES, FOUND, SPLICED, cut, room_bytes
from throughput.loaders.ahead import Encoded, encoded_batch
from throughput.loaders.dali import DaliLoader, DaliLoaderFactory, DaliOptions
from throughput.threads import in_threads

DALI = DaliLoaderFactory()
"""Whose requirements are those of decoding here."""
_CHUNK = 16
"""Images that a thread cuts in one go: handing over one by one would cost more than cutting."""


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
    sizes = np.array([image[1:] for image in images], np.int64)
    start = whole.regions.start.copy()
    data: list[NDArray[np.uint8]] = []
    chunks = [slice(begin, begin + _CHUNK) for begin in range(0, len(ids), _CHUNK)]
    threads = min(work.workers, len(chunks))
    with closing(in_threads(lambda chunk: _cut(work, whole, sizes, chunk, start), chunks, threads)) as done:
        for cut_ones in done:
            data += cut_ones
    return whole._replace(data=data, regions=whole.regions._replace(start=start))


def _cut(
    work: Work, whole: Encoded, sizes: NDArray[np.int64], chunk: slice, start: NDArray[np.int32]
) -> list[NDArray[np.uint8]]:
    """The JPEGs of some images of a batch; ``start`` is moved to where the regions now begin."""
    made = []
    for place in range(len(whole.ids))[chunk]:
        sample_id, data = int(whole.ids[place]), whole.data[place]
        kept = work.source.kept(sample_id)
        lengths = FOUND if kept is None else kept.interval_bytes
        box = (*whole.regions.start[place].tolist(), *whole.regions.shape[place].tolist())
        room = np.empty(room_bytes(len(data)), np.uint8)
        region = cut(data, lengths, box, room, tuple(sizes[place].tolist()))
        if region.status < 0 and len(lengths) and work.on_error == "raise":
            raise SampleError(work.source.describe(sample_id), DAMAGES[region.status])
        if region.status == SPLICED:
            made.append(room[: region.size_bytes].copy())
            start[place] -= (region.top, region.left)
        else:
            made.append(data)
    return made
