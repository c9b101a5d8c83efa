"""One image at a time: cut the region that a crop needs out of a JPEG, decode it, resize it into a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from throughput.bad_samples import BadSamples
from throughput.canonical import Boxes, centre_crop, draw_boxes
from throughput.contracts import Fault, Work
from throughput.errors import SampleError
from throughput.jpeg.header import has_end
from throughput.jpeg.splice import BAD_INDEX, DAMAGES, FOUND, SPLICED, cut, room_bytes
from throughput.kernel import one_process_compiles
from throughput.loaders.order import compile_order
from throughput.loaders.region_samples import Reader, Sample, own_room
from throughput.memory import Room
from throughput.pixels import decode_image, open_image
from throughput.resize import Axis, grey_of, resize_into


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
    """

    region: bool = True
    half: bool = False


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
        self._reader = Reader(work)
        self._encoded, self._spliced, self._pixels = Room(), Room(), Room()

    def render(self, epoch: int, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> list[Fault]:
        """Write the crops of samples to ``out`` (N, S, S, C) uint8; return the bad ones, left unwritten.

        Each is read when its turn comes: what was just read lies in the core's cache. Raises SampleError for
        the first bad one where ``work.on_error`` says so.
        """
        bad = BadSamples(self._work)
        found = self._reader.find(ids, bad)
        every = self.wanted(epoch, list(found.values()))
        for (place, unread), wanted in zip(found.items(), every, strict=True):
            with bad.noted(unread.id):
                sample = self._reader.load(unread, self._encoded.take)
                self.transform(self.decode(self.cut(sample, wanted), sample, wanted), wanted, out[place])
        return bad.faults

    def read(self, ids: NDArray[np.int64]) -> list[Sample]:
        """Read samples, each into memory of its own; bad ones are left out, or raised."""
        bad = BadSamples(self._work)
        return [self._reader.load(sample, own_room) for sample in self._reader.find(ids, bad).values()]

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
        spliced = self._spliced.take(room_bytes(len(sample.data)))
        box, size = (top, left, bottom - top, right - left), (sample.height, sample.width)
        region = cut(sample.data, sample.interval_bytes, box, spliced, size)
        if region.status == SPLICED:
            data = spliced[: region.size_bytes]
            return Encoded(data, region.top, region.left, region.height, region.width)
        if region.status < 0 and len(sample.interval_bytes):
            raise SampleError(self._work.source.describe(sample.id), DAMAGES[region.status])
        return _whole(sample)  # decoders cope with more than can be cut: with odd restart markers, say

    def decode(self, encoded: Encoded, sample: Sample, wanted: Wanted) -> Decoded:
        """Decode to RGBX, or grey for grey work. Raises SampleError.

        Where a region or an indexed image is not quite right, the whole is decoded as far as it goes: its
        checksum has told, if there is one, that it is what was packed.
        """
        if not sample.is_jpeg:
            return self._by_pillow(sample)
        factor = 2 if self._ways.half and min(wanted.rows.scale, wanted.columns.scale) >= 2 else 1
        height, width = -(-encoded.height // factor), -(-encoded.width // factor)
        room = self._pixels.take(4 * height * width)
        least = {"min_height": height, "min_width": width, "min_factor": factor} if factor > 1 else {}
        was_sound = encoded.data is not sample.data or len(sample.interval_bytes) > 0
        # A file that has its end is decoded as far as it goes, as Pillow does, unless it was sound once.
        strict = was_sound or not has_end(sample.data.data)
        try:
            pixels = simplejpeg.decode_jpeg(encoded.data, "RGBX", buffer=room, strict=strict, **least)
        except ValueError:
            if not was_sound:
                return self._by_pillow(sample)
            as_it_is = sample._replace(interval_bytes=FOUND)
            return self.decode(_whole(as_it_is), as_it_is, wanted)
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
