"""One image at a time: cut the region that a crop needs out of a JPEG, decode it, resize it into a batch."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from throughput.canonical import Boxes, centre_crop, draw_boxes
from throughput.contracts import Work
from throughput.errors import SampleError
from throughput.jpeg.header import has_end, read_frame
from throughput.jpeg.splice import BAD_INDEX, DAMAGES, FOUND, SPLICED, cut, room_bytes
from throughput.pixels import decode_image, open_image
from throughput.resize import Axis, grey_of, resize_into

_BLANK = np.empty(0, np.uint8)


class Sample(NamedTuple):
    """An encoded image. data: (M,) uint8. interval_bytes: as the index has them, or FOUND.

    height, width: pixels. is_jpeg: whether every decoder makes the same of it.
    """

    id: int
    data: NDArray[np.uint8]
    interval_bytes: NDArray[np.uint16]
    height: int
    width: int
    is_jpeg: bool


class Wanted(NamedTuple):
    """What becomes of an image: how its axes are resized, in its own pixels, and whether it is mirrored."""

    rows: Axis
    columns: Axis
    mirror: bool


class Encoded(NamedTuple):
    """A JPEG to decode, and which of the image's pixels it shows: from (top, left) on."""

    data: NDArray[np.uint8]
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Ways:
    """How regions are decoded. region: cut where that can be, else decode every image as a whole.

    half: decode at half the size where the crop is at least twice as large as what becomes of it.
    verify: compare each sample with its checksum first.
    """

    region: bool = True
    half: bool = False
    verify: bool = False


def compile_kernels() -> None:
    """Compile what a region takes, or load it compiled, before anybody waits for a batch."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    encoded = np.frombuffer(simplejpeg.encode_jpeg(pixels, colorsubsampling="444"), np.uint8)
    cut(encoded, FOUND, (0, 0, 8, 8), np.empty(room_bytes(len(encoded)), np.uint8))
    axis = Axis(0.0, 2.0, 0, 16)
    resize_into(np.zeros((16, 16, 4), np.uint8), axis, axis, False, np.zeros((8, 8, 3), np.uint8))


class Renderer:
    """Makes crops, for one thread: it owns memory that is used again for every image."""

    def __init__(self, work: Work, ways: Ways) -> None:
        self._work = work
        self._ways = ways
        self._spliced = _BLANK
        self._pixels = _BLANK

    def render(self, epoch: int, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Write the crops of samples to ``out`` (N, S, S, C) uint8. Raises SampleError."""
        samples = self.read(ids)
        for sample, wanted, place in zip(samples, self.wanted(epoch, samples), out, strict=True):
            encoded = self.cut(sample, wanted)
            self.transform(self.decode(encoded, sample, wanted), encoded, wanted, place)

    def read(self, ids: NDArray[np.int64]) -> list[Sample]:
        """Read samples, and find their sizes."""
        return [self._read(sample_id) for sample_id in ids.tolist()]

    def _read(self, sample_id: int) -> Sample:
        source = self._work.source
        data, kept = np.frombuffer(source.read(sample_id), np.uint8), source.kept(sample_id)
        if self._ways.verify:
            self._verify(sample_id, data, None if kept is None else kept.checksum)
        if kept is not None and len(kept.interval_bytes):
            return Sample(sample_id, data, kept.interval_bytes, kept.height, kept.width, is_jpeg=True)
        frame = read_frame(data.data)
        if frame is not None and frame.components in (1, 3) and frame.precision == 8:
            return Sample(sample_id, data, FOUND, frame.height, frame.width, is_jpeg=True)
        image = open_image(self._work, sample_id, data.tobytes())
        return Sample(sample_id, data, FOUND, image.height, image.width, is_jpeg=False)

    def _verify(self, sample_id: int, data: NDArray[np.uint8], checksum: int | None) -> None:
        if checksum is None:
            cause = "no checksum was kept for it: pack the images, or leave out roi.verify=1"
        elif zlib.crc32(data.data) != checksum:
            cause = "its bytes are not those that were packed (CRC-32): pack the images again"
        else:
            return
        raise SampleError(self._work.source.describe(sample_id), cause)

    def wanted(self, epoch: int, samples: list[Sample]) -> list[Wanted]:
        """What becomes of each sample: its train crop, or the centre of a val image."""
        size = self._work.image_size
        if self._work.centred:
            return [_centre(sample.height, sample.width, size) for sample in samples]
        ids = np.array([sample.id for sample in samples], np.int64)
        heights = np.array([sample.height for sample in samples], np.int64)
        widths = np.array([sample.width for sample in samples], np.int64)
        boxes = draw_boxes(self._work, epoch, ids, heights, widths)
        return _crops(boxes, size)

    def cut(self, sample: Sample, wanted: Wanted) -> Encoded:
        """The JPEG of the region that is needed, or of the whole image. Raises SampleError for damage."""
        whole = Encoded(sample.data, 0, 0, sample.height, sample.width)
        if not (sample.is_jpeg and self._ways.region):
            return whole
        (top, bottom), (left, right) = _reach(wanted.rows, self._work), _reach(wanted.columns, self._work)
        if len(self._spliced) < room_bytes(len(sample.data)):
            self._spliced = np.empty(2 * room_bytes(len(sample.data)), np.uint8)
        box, size = (top, left, bottom - top, right - left), (sample.height, sample.width)
        region = cut(sample.data, sample.interval_bytes, box, self._spliced, size)
        if region.status == SPLICED:
            data = self._spliced[: region.size_bytes]
            return Encoded(data, region.top, region.left, region.height, region.width)
        if region.status < 0:
            raise SampleError(self._work.source.describe(sample.id), DAMAGES[region.status])
        return whole

    def decode(self, encoded: Encoded, sample: Sample, wanted: Wanted) -> NDArray[np.uint8]:
        """Decode to (H, W, 4) RGBX, or (H, W, 1) for grey work. Raises SampleError."""
        if not sample.is_jpeg:
            return self._by_pillow(sample)
        factor = 2 if self._ways.half and min(wanted.rows.scale, wanted.columns.scale) >= 2 else 1
        height, width = -(-encoded.height // factor), -(-encoded.width // factor)
        if len(self._pixels) < 4 * height * width:
            self._pixels = np.empty(8 * height * width, np.uint8)
        least = {"min_height": height, "min_width": width, "min_factor": factor} if factor > 1 else {}
        # A file that has its end is decoded as far as it goes, as Pillow does; a region was sound once.
        strict = encoded.data is not sample.data or not has_end(sample.data.data)
        try:
            pixels = simplejpeg.decode_jpeg(encoded.data, "RGBX", buffer=self._pixels, strict=strict, **least)
        except ValueError as error:
            if encoded.data is sample.data:
                return self._by_pillow(sample)
            where = self._work.source.describe(sample.id)
            raise SampleError(where, f"the image is damaged: {error}") from error
        if pixels.shape[:2] != (height, width):
            raise SampleError(self._work.source.describe(sample.id), DAMAGES[BAD_INDEX])
        return grey_of(pixels) if self._work.channels == 1 else pixels

    def _by_pillow(self, sample: Sample) -> NDArray[np.uint8]:
        image = open_image(self._work, sample.id, sample.data.tobytes())
        image = decode_image(self._work, sample.id, image)
        pixels = np.array(image.convert("RGBX") if self._work.channels == 3 else image)
        return pixels if pixels.ndim == 3 else pixels[:, :, None]

    def transform(
        self, pixels: NDArray[np.uint8], encoded: Encoded, wanted: Wanted, out: NDArray[np.uint8]
    ) -> None:
        """Crop, resize and mirror into ``out`` (S, S, C) uint8."""
        rows = _within(wanted.rows, encoded.top, encoded.height, pixels.shape[0])
        columns = _within(wanted.columns, encoded.left, encoded.width, pixels.shape[1])
        resize_into(pixels, rows, columns, wanted.mirror, out)


def _crops(boxes: Boxes, size: int) -> list[Wanted]:
    """Nothing beyond a train crop is looked at."""
    return [
        Wanted(
            Axis(top, height / size, top, top + height), Axis(left, width / size, left, left + width), mirror
        )
        for top, left, height, width, mirror in zip(*(part.tolist() for part in boxes), strict=True)
    ]


def _centre(height: int, width: int, size: int) -> Wanted:
    """Resizing the whole and cropping its centre is resizing a part of it, with what lies around in reach."""
    crop = centre_crop(height, width, size)
    down, across = height / crop.height, width / crop.width
    return Wanted(
        Axis(crop.top * down, down, 0, height), Axis(crop.left * across, across, 0, width), mirror=False
    )


def _reach(axis: Axis, work: Work) -> tuple[int, int]:
    """First and behind the last pixel that the filter looks at."""
    reach = max(axis.scale, 1.0) + 1
    first = max(axis.low, math.floor(axis.start - reach))
    return first, min(axis.high, math.ceil(axis.start + axis.scale * work.image_size + reach))


def _within(axis: Axis, begin: int, decoded: int, pixels: int) -> Axis:
    """An axis of the image as one of an array that shows ``decoded`` of its pixels from ``begin`` on."""
    shrink = pixels / decoded
    if shrink == 1:
        low, high = max(axis.low - begin, 0), min(axis.high - begin, pixels)
        return Axis(axis.start - begin, axis.scale, low, high)
    low, high = math.floor((axis.low - begin) * shrink), math.ceil((axis.high - begin) * shrink)
    # Half size rounds up: an odd last pixel is half a pixel there.
    return Axis((axis.start - begin) / 2, axis.scale / 2, max(low, 0), min(high, pixels))
