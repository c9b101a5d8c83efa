"""Encoded batches read ahead by threads: the bytes of each image, and which region of it is wanted."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import count, islice, tee
from operator import itemgetter
from queue import SimpleQueue
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from throughput.bad_samples import BadSamples, given
from throughput.canonical import centre_crop, draw_boxes, epoch_batches
from throughput.contracts import Fault, Work
from throughput.errors import SampleError
from throughput.jpeg.header import has_end, read_frame
from throughput.pixels import decode_image, open_image, require_pixels
from throughput.resuming import NOTHING, Delivered
from throughput.sources.ahead import told_ahead
from throughput.threads import in_threads


class Regions(NamedTuple):
    """For each image of a batch, rows before columns.

    start, shape: (N, 2) int32 each, pixels: the region to decode.
    resize_from, resize_to: (N, 2) float32 each, in pixels of that region: the rectangle that becomes the
    output; where it runs from right to left the output is mirrored.
    """

    start: NDArray[np.int32]
    shape: NDArray[np.int32]
    resize_from: NDArray[np.float32]
    resize_to: NDArray[np.float32]


class Encoded(NamedTuple):
    """A batch before decoding. ids: (N,) int64; data: N arrays of uint8. faults: its bad samples.

    These have a small black image in their place.
    """

    ids: NDArray[np.int64]
    data: list[NDArray[np.uint8]]
    regions: Regions
    faults: list[Fault]

    def without(self, faults: Mapping[int, Fault]) -> Encoded:
        """The same with more samples known to be bad, by their ids. What is known already is told once."""
        ids, known = self.ids.tolist(), {fault.id for fault in self.faults}
        places = [place for place, sample in enumerate(ids) if sample in faults and sample not in known]
        regions = Regions(
            self.regions.start.copy(),
            self.regions.shape.copy(),
            self.regions.resize_from.copy(),
            self.regions.resize_to.copy(),
        )
        data = list(self.data)
        for place in places:
            data[place] = np.frombuffer(BLACK, np.uint8)
            regions.start[place], regions.shape[place] = 0, BLACK_SIDE
            regions.resize_from[place], regions.resize_to[place] = 0, BLACK_SIDE
        return Encoded(self.ids, data, regions, [*self.faults, *(faults[ids[place]] for place in places)])


BLACK_SIDE = 16
BLACK = b"P6 %d %d 255\n" % (BLACK_SIDE, BLACK_SIDE) + bytes(3 * BLACK_SIDE**2)
"""An image that any decoder takes (netpbm's PPM), for the place of a bad one."""


def sized(work: Work, sample: int, data: bytes) -> tuple[bytes, int, int]:
    """An image that any decoder takes alike, with its height and width in pixels.

    JPEGs, PNGs and WebPs of one or three 8-bit components pass as they are. Whatever decoders disagree
    about (CMYK, palettes, alpha, 16 bits, animations) is decoded by Pillow, like everywhere else, and
    handed on as PNM. Raises SampleError.
    """
    frame = read_frame(data)
    plain_jpeg = frame is not None and frame.components in (1, 3) and frame.precision == 8
    if frame is not None and plain_jpeg and has_end(data):
        require_pixels(work, sample, frame.height, frame.width)
        return data, frame.height, frame.width
    # A decoder that stops at the crop's last row would not notice that the rest of the file is missing.
    opened = open_image(work, sample, data)
    if _is_plain(opened, data):
        return data, opened.height, opened.width
    image = decode_image(work, sample, opened)
    if plain_jpeg:
        return data, image.height, image.width
    plain = io.BytesIO()
    image.save(plain, "PPM")
    return plain.getvalue(), image.height, image.width


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Whether every decoder makes the same 8-bit RGB or grey of a PNG or a WebP."""
    if image.mode not in ("RGB", "L") or "transparency" in image.info:
        return False
    if image.format == "PNG":
        return data[24] == 8  # bits a sample, in IHDR (ISO/IEC 15948, 11.2.2)
    return image.format == "WEBP" and getattr(image, "n_frames", 1) == 1


def encoded_batch(
    work: Work, epoch: int, ids: NDArray[np.int64], images: list[tuple[bytes, int, int]]
) -> Encoded:
    """Attach to each image the region that the canonical work wants of it."""
    data = [np.frombuffer(encoded, np.uint8) for encoded, _, _ in images]
    heights = np.array([height for _, height, _ in images], np.int64)
    widths = np.array([width for _, _, width in images], np.int64)
    regions = _centres(work, heights, widths) if work.centred else _crops(work, epoch, ids, heights, widths)
    return Encoded(ids, data, regions, [])


def _crops(
    work: Work, epoch: int, ids: NDArray[np.int64], heights: NDArray[np.int64], widths: NDArray[np.int64]
) -> Regions:
    boxes = draw_boxes(work, epoch, ids, heights, widths)
    right_to_left = np.where(boxes.mirror, boxes.width, 0)
    left_to_right = np.where(boxes.mirror, 0, boxes.width)
    return Regions(
        np.stack([boxes.top, boxes.left], axis=1).astype(np.int32),
        np.stack([boxes.height, boxes.width], axis=1).astype(np.int32),
        np.stack([np.zeros_like(right_to_left), right_to_left], axis=1).astype(np.float32),
        np.stack([boxes.height, left_to_right], axis=1).astype(np.float32),
    )


def _centres(work: Work, heights: NDArray[np.int64], widths: NDArray[np.int64]) -> Regions:
    """Resizing the whole and cropping its centre is resizing one rectangle of it."""
    begins, ends = [], []
    for height, width in zip(heights.tolist(), widths.tolist(), strict=True):
        crop = centre_crop(height, width, work.image_size)
        rows, columns = height / crop.height, width / crop.width
        begins.append((crop.top * rows, crop.left * columns))
        ends.append(((crop.top + work.image_size) * rows, (crop.left + work.image_size) * columns))
    return Regions(
        np.zeros((len(heights), 2), np.int32),
        np.stack([heights, widths], axis=1).astype(np.int32),
        np.array(begins, np.float32),
        np.array(ends, np.float32),
    )


class Encode(Protocol):
    """What makes a batch of read images, (bytes, height, width) each, ready for the decoder."""

    def __call__(
        self, work: Work, epoch: int, ids: NDArray[np.int64], images: list[tuple[bytes, int, int]]
    ) -> Encoded: ...


class Ahead(Iterator[Encoded]):
    """Reads the batches of one val epoch, or of train epochs without end, a few batches ahead.

    delivered: what is left out.
    """

    def __init__(
        self,
        work: Work,
        first_epoch: int,
        batches: int,
        encode: Encode = encoded_batch,
        delivered: Delivered = NOTHING,
    ) -> None:
        self._work = work
        self._encode = encode
        self._first_epoch = first_epoch
        self._delivered = delivered
        # Two queues of C code, one for batches and one for leave to make more: a bounded queue of the
        # standard library takes locks that Ctrl-C can leave taken.
        self._batches: SimpleQueue[Encoded | Exception | None] = SimpleQueue()
        self._leave: SimpleQueue[None] = SimpleQueue()
        for _ in range(batches):
            self._leave.put(None)
        self._closed = False
        self._over = False
        self._thread = threading.Thread(target=self._produce, name="throughput-read-ahead", daemon=True)
        self._thread.start()

    def __next__(self) -> Encoded:
        if self._over:
            raise StopIteration
        item = self._batches.get()
        if isinstance(item, Encoded):
            self._leave.put(None)
            return item
        self._over = True
        if item is None:
            raise StopIteration
        try:
            raise item
        finally:
            # A cycle of error and frame would keep all that the frames hold until the garbage collector runs.
            del item

    def close(self) -> None:
        """End the thread; what it has read is dropped."""
        self._closed = self._over = True
        self._leave.put(None)
        self._thread.join()

    def _produce(self) -> None:
        work = self._work
        epochs = count(self._first_epoch) if work.split == "train" else (self._first_epoch,)
        try:
            batches = (
                (epoch, ids) for epoch in epochs for ids in epoch_batches(work, epoch, self._delivered)
            )
            to_read, to_join = tee(told_ahead(work.source, batches, itemgetter(1)))
            samples = (int(sample) for _, ids in to_read for sample in ids)
            # One stream of reads across batches and epochs: its threads are started once.
            with closing(in_threads(self._read, samples, work.workers)) as images:
                for epoch, ids in to_join:
                    self._leave.get()
                    if self._closed:
                        return
                    self._batches.put(self._made(epoch, ids, list(islice(images, len(ids)))))
            self._batches.put(None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the consumer must hear of it
            self._batches.put(error)

    def _made(
        self, epoch: int, ids: NDArray[np.int64], images: list[tuple[bytes, int, int] | SampleError]
    ) -> Encoded:
        """A batch, whose bad samples are black."""
        bad = BadSamples(self._work)
        sound: list[tuple[bytes, int, int]] = []
        for sample, image in zip(ids.tolist(), images, strict=True):
            sound.append((BLACK, BLACK_SIDE, BLACK_SIDE))
            with bad.noted(sample):
                sound[-1] = given(image)
        encoded = self._encode(self._work, epoch, ids, sound)
        return encoded.without({fault.id: fault for fault in bad.faults}) if bad.faults else encoded

    def _read(self, sample: int) -> tuple[bytes, int, int] | SampleError:
        try:
            return sized(self._work, sample, self._work.source.read(sample))
        except SampleError as error:
            if self._work.on_error == "raise":
                raise
            return error
