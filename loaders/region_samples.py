"""The encoded images that regions are cut from, and what is known about each before it is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.bad_samples import BadSamples
from throughput.contracts import Work
from throughput.errors import SampleError
from throughput.jpeg.header import read_frame
from throughput.jpeg.splice import FOUND
from throughput.pixels import open_image, require_pixels
from throughput.sources.shard_index import SampleRecord

_UNREAD = np.empty(0, np.uint8)


class Sample(NamedTuple):
    """An encoded image. data: (M,) uint8, empty as long as it is unread.

    interval_bytes: as the index has them, or FOUND. height, width: pixels. is_jpeg: whether every decoder
    makes the same of it.
    """

    id: int
    data: NDArray[np.uint8]
    interval_bytes: NDArray[np.uint16]
    height: int
    width: int
    is_jpeg: bool


class Reader:
    """Finds samples and reads them."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def find(self, ids: NDArray[np.int64], bad: BadSamples) -> dict[int, Sample]:
        """Samples with their sizes, by their place in ``ids``; those that are bad are left out and noted.

        Those whose size no index has are read for it.
        """
        kept: list[SampleRecord | None] | None = None
        with suppress(SampleError):  # told of the samples that it concerns, below
            kept = self._work.source.kept_of(ids)
        found = {}
        for place, sample_id in enumerate(ids.tolist()):
            with bad.noted(sample_id):
                one = self._work.source.kept(sample_id) if kept is None else kept[place]
                found[place] = self._find(sample_id, one)
        return found

    def _find(self, sample_id: int, kept: SampleRecord | None) -> Sample:
        if kept is not None and len(kept.interval_bytes):
            lengths, height, width = kept.interval_bytes, kept.height, kept.width
            sample = Sample(sample_id, _UNREAD, lengths, height, width, is_jpeg=True)
        else:
            data = self._read(sample_id, own_room)
            frame = read_frame(data.data)
            is_jpeg = frame is not None and frame.components in (1, 3) and frame.precision == 8
            sized = frame if is_jpeg and frame else open_image(self._work, sample_id, data.tobytes())
            sample = Sample(sample_id, data, FOUND, sized.height, sized.width, is_jpeg)
        require_pixels(self._work, sample_id, sample.height, sample.width)
        return sample

    def load(self, sample: Sample, room: Callable[[int], NDArray[np.uint8]]) -> Sample:
        """The sample with its data, in ``room``'s memory unless it was read before. Raises SampleError."""
        if len(sample.data):
            return sample
        return sample._replace(data=self._read(sample.id, room))

    def _read(self, sample_id: int, room: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        data = self._work.source.read_into(sample_id, room)
        return np.frombuffer(self._work.source.read(sample_id), np.uint8) if data is None else data


def own_room(size_bytes: int) -> NDArray[np.uint8]:
    """Memory that nothing else will be read into."""
    return np.empty(size_bytes, np.uint8)
