"""The encoded images that regions are cut from, and what is known about each before it is read."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    makes the same of it. checksum: the index's.
    """

    id: int
    data: NDArray[np.uint8]
    interval_bytes: NDArray[np.uint16]
    height: int
    width: int
    is_jpeg: bool
    checksum: int | None


class Reader:
    """Finds samples and reads them. verify: compare each with its checksum."""

    def __init__(self, work: Work, *, verify: bool) -> None:
        self._work = work
        self._verify = verify

    def find(self, ids: NDArray[np.int64]) -> list[Sample]:
        """Samples with their sizes. Those whose size no index has are read for it. Raises SampleError."""
        kept = self._work.source.kept_of(ids)
        return [self._find(sample_id, one) for sample_id, one in zip(ids.tolist(), kept, strict=True)]

    def _find(self, sample_id: int, kept: SampleRecord | None) -> Sample:
        checksum = None if kept is None else kept.checksum
        if kept is not None and len(kept.interval_bytes):
            lengths, height, width = kept.interval_bytes, kept.height, kept.width
            sample = Sample(sample_id, _UNREAD, lengths, height, width, is_jpeg=True, checksum=checksum)
        else:
            data = self._read(sample_id, checksum, own_room)
            frame = read_frame(data.data)
            is_jpeg = frame is not None and frame.components in (1, 3) and frame.precision == 8
            sized = frame if is_jpeg and frame else open_image(self._work, sample_id, data.tobytes())
            sample = Sample(sample_id, data, FOUND, sized.height, sized.width, is_jpeg, checksum)
        require_pixels(self._work, sample_id, sample.height, sample.width)
        return sample

    def load(self, sample: Sample, room: Callable[[int], NDArray[np.uint8]]) -> Sample:
        """The sample with its data, in ``room``'s memory unless it was read before. Raises SampleError."""
        if len(sample.data):
            return sample
        return sample._replace(data=self._read(sample.id, sample.checksum, room))

    def _read(
        self, sample_id: int, checksum: int | None, room: Callable[[int], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        data = self._work.source.read_into(sample_id, room)
        if data is None:
            data = np.frombuffer(self._work.source.read(sample_id), np.uint8)
        if not self._verify:
            return data
        if checksum is None:
            cause = "no checksum was kept for it: pack the images, or leave out roi.verify=1"
        elif zlib.crc32(data.data) != checksum:
            cause = "its bytes are not those that were packed (CRC-32): pack the images again"
        else:
            return data
        raise SampleError(self._work.source.describe(sample_id), cause)


def own_room(size_bytes: int) -> NDArray[np.uint8]:
    """Memory that nothing else will be read into."""
    return np.empty(size_bytes, np.uint8)
