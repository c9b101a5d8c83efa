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
from throughput.kernel import one_process_compiles
from throughput.loaders.order import compile_order
from throughput.pixels import decode_image, open_image, require_pixels
from throughput.resize import Axis, grey_of, resize_into

_BLANK = np.empty(0, np.uint8)


class Sample(NamedTuple):
    """An encoded image. data: (M,) uint8. interval_bytes: as the index has them, or FOUND.

    height, width: pixels. is_jpeg: whether every decoder makes the same of it. checksum: the index's.
    """

    id: int
    data: NDArray[np.uint8]
    interval_bytes: NDArray[np.uint16]
    height: int
    width: int
    is_jpeg: bool
    checksum: int | None


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


class Decoded(NamedTuple):
    """Pixels (H, W, 4 or 1) uint8 of an image from (top, left) on; factor: 2 where they are at half size."""

    pixels: NDArray[np.uint8]
    top: int
    left: int
    factor: int


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
    """Compile what batches take, or load it compiled, before anybody waits for a batch."""
    with one_process_compiles():
        pixels = np.zeros((16, 16, 3), np.uint8)
        encoded = np.frombuffer(simplejpeg.encode_jpeg(pixels, colorsubsampling="444"), np.uint8)
        cut(encoded, FOUND, (0, 0, 8, 8), np.empty(room_bytes(len(encoded)), np.uint8))
        axis = Axis(0.0, 2.0, 0, 16)
        decoded = np.zeros((16, 16, 4), np.uint8)
        resize_into(decoded, axis, axis, False, np.zeros((8, 8, 3), np.uint8))
        resize_into(grey_of(decoded), axis, axis, False, np.zeros((8, 8, 1), np.uint8))
        compile_order()


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
            self.transform(self.decode(self.cut(sample, wanted), sample, wanted), wanted, place)

    def read(self, ids: NDArray[np.int64]) -> list[Sample]:
        """Read samples, and find their sizes."""
        return [self._read(sample_id) for sample_id in ids.tolist()]

    def _read(self, sample_id: int) -> Sample:
        source = self._work.source
        data, kept = np.frombuffer(source.read(sample_id), np.uint8), source.kept(sample_id)
        checksum = None if kept is None else kept.checksum
        if self._ways.verify:
            self._verify(sample_id, data, checksum)
        if kept is not None and len(kept.interval_bytes):
            height, width, is_jpeg, lengths = kept.height, kept.width, True, kept.interval_bytes
        else:
            frame, lengths = read_frame(data.data), FOUND
            is_jpeg = frame is not None and frame.components in (1, 3) and frame.precision == 8
            sized = frame if is_jpeg and frame else open_image(self._work, sample_id, data.tobytes())
            height, width = sized.height, sized.width
        require_pixels(self._work, sample_id, height, width)
        return Sample(sample_id, data, lengths, height, width, is_jpeg, checksum)

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
        if not (sample.is_jpeg and self._ways.region):
            return _whole(sample)
        (top, bottom), (left, right) = _reach(wanted.rows, self._work), _reach(wanted.columns, self._work)
        self._spliced = _with_room(self._spliced, room_bytes(len(sample.data)))
        box, size = (top, left, bottom - top, right - left), (sample.height, sample.width)
        region = cut(sample.data, sample.interval_bytes, box, self._spliced, size)
        if region.status == SPLICED:
            data = self._spliced[: region.size_bytes]
            return Encoded(data, region.top, region.left, region.height, region.width)
        if region.status < 0 and len(sample.interval_bytes):
            raise SampleError(self._work.source.describe(sample.id), DAMAGES[region.status])
        return _whole(sample)  # decoders cope with more than can be cut: with odd restart markers, say

    def decode(self, encoded: Encoded, sample: Sample, wanted: Wanted) -> Decoded:
        """Decode to RGBX, or grey for grey work. Raises SampleError.

        A region that does not decode is decoded with its whole image, unless that is known to be damaged.
        """
        if not sample.is_jpeg:
            return self._by_pillow(sample)
        factor = 2 if self._ways.half and min(wanted.rows.scale, wanted.columns.scale) >= 2 else 1
        height, width = -(-encoded.height // factor), -(-encoded.width // factor)
        self._pixels = _with_room(self._pixels, 4 * height * width)
        least = {"min_height": height, "min_width": width, "min_factor": factor} if factor > 1 else {}
        is_whole = encoded.data is sample.data
        # A file that has its end is decoded as far as it goes, as Pillow does; a region was sound once.
        strict = not is_whole or not has_end(sample.data.data)
        try:
            pixels = simplejpeg.decode_jpeg(encoded.data, "RGBX", buffer=self._pixels, strict=strict, **least)
        except ValueError as error:
            if is_whole:
                return self._by_pillow(sample)
            if sample.checksum not in (None, zlib.crc32(sample.data.data)):
                where = self._work.source.describe(sample.id)
                raise SampleError(where, f"the image is damaged: {error}") from error
            return self.decode(_whole(sample), sample, wanted)
        self._require_size(sample, pixels, height, width)
        pixels = grey_of(pixels) if self._work.channels == 1 else pixels
        return Decoded(pixels, encoded.top, encoded.left, factor)

    def _by_pillow(self, sample: Sample) -> Decoded:
        image = open_image(self._work, sample.id, sample.data.tobytes())
        image = decode_image(self._work, sample.id, image)
        pixels = np.array(image.convert("RGBX") if self._work.channels == 3 else image)
        self._require_size(sample, pixels, sample.height, sample.width)
        return Decoded(pixels if pixels.ndim == 3 else pixels[:, :, None], 0, 0, factor=1)

    def _require_size(self, sample: Sample, pixels: NDArray[np.uint8], height: int, width: int) -> None:
        """Kernels trust sizes: they would read what lies beyond the pixels."""
        found = pixels.shape[:2]
        if found != (height, width):
            wrong = f"the image is damaged: {found[1]} x {found[0]} pixels instead of {width} x {height}"
            cause = DAMAGES[BAD_INDEX] if len(sample.interval_bytes) else wrong
            raise SampleError(self._work.source.describe(sample.id), cause)

    def transform(self, decoded: Decoded, wanted: Wanted, out: NDArray[np.uint8]) -> None:
        """Crop, resize and mirror into ``out`` (S, S, C) uint8."""
        height, width = decoded.pixels.shape[:2]
        rows = _within(wanted.rows, decoded.top, decoded.factor, height)
        columns = _within(wanted.columns, decoded.left, decoded.factor, width)
        resize_into(decoded.pixels, rows, columns, wanted.mirror, out)


def _whole(sample: Sample) -> Encoded:
    return Encoded(sample.data, 0, 0, sample.height, sample.width)


def _with_room(held: NDArray[np.uint8], needed: int) -> NDArray[np.uint8]:
    """``held``, or a quarter more than is needed: images of about one size then need no other soon."""
    return held if len(held) >= needed else np.empty(needed + needed // 4, np.uint8)


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


def _within(axis: Axis, begin: int, factor: int, pixels: int) -> Axis:
    """An axis of the image as one of ``pixels`` that show it from ``begin`` on, ``factor`` times smaller."""
    low, high = (axis.low - begin) // factor, -((begin - axis.high) // factor)
    # Half size rounds up: an odd last pixel is half a pixel there.
    return Axis((axis.start - begin) / factor, axis.scale / factor, max(low, 0), min(high, pixels))
