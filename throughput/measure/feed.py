"""From a loader's batch to a ready one: on the device, normalised, channels_last, in the compute dtype.

Whatever a loader left undone is done here, and the time counts as the loader's; what the augmentation asks
for beyond the crop and the mirror is done here for every loader (``augment.py``). A loader may therefore
ship uint8 (a quarter of float32's bytes over the bus) and is still compared fairly with one that
normalises by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from throughput.contracts import FILLER_ID, Batch, Fault, Loader, Resumable, Work
from throughput.errors import LoaderError
from throughput.measure.augment import augment, is_augmented
from throughput.memory import ReusedMemory


class Feed:
    """A loader whose batches are ready. Iterate ``epoch(i)`` as on the loader itself."""

    def __init__(self, loader: Loader, work: Work) -> None:
        self.samples_per_epoch = loader.samples_per_epoch
        self.work = work
        self._loader = loader
        self._finish = finisher(work, finished=loader.finished)

    @property
    def resumable(self) -> Resumable | None:
        """The loader, where it tells what it has delivered: each batch was handed on as it came."""
        return self._loader if isinstance(self._loader, Resumable) else None

    def epoch(self, index: int) -> Iterator[Batch]:
        """Yield the ready batches of an epoch.

        On a CUDA device all device work of the loader, the transfer and the finishing run on a side
        stream, so that they overlap with whatever the caller has already queued; the caller's stream
        waits for them. Raises LoaderError for a batch of a shape that the work does not ask for.
        """
        batches = self._loader.epoch(index)
        came = 0
        while True:
            with self._finish.stream():
                batch = next(batches, None)
                if batch is None:
                    return
                ready = self._finish(batch, index, came)
            came += len(batch.ids)
            self._finish.hand_over(ready)
            yield ready

    def take_faults(self) -> list[Fault]:
        """The loader's bad samples since this was last asked."""
        return self._loader.take_faults()


class Finisher(Protocol):
    """Makes one kind of device's batches ready."""

    def stream(self) -> AbstractContextManager[object]:
        """Where the loader's device work and the finishing run."""

    def __call__(self, batch: Batch, epoch: int = 0, came: int = 0) -> Batch:
        """Finish a batch of ``epoch``, in which ``came`` samples came before."""

    def hand_over(self, ready: Batch) -> None:
        """Order the caller's device work behind the finishing."""


def finisher(work: Work, *, finished: bool = False) -> Finisher:
    """The finishing that makes any loader's batches ready for this work, or keeps ``finished`` ones so."""
    device = torch.device(work.device)
    augmenting = None if finished or not is_augmented(work) else _Augmenting(work)
    return _CudaFinish(work, device, augmenting) if device.type == "cuda" else _HostFinish(work, augmenting)


class _Augmenting:
    """Turning and noise, between what the loader made and the normalising."""

    def __init__(self, work: Work) -> None:
        self._work = work
        device = torch.device(work.device)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (work.mean, work.std)
        )

    def __call__(self, batch: Batch, images: torch.Tensor, epoch: int, came: int) -> torch.Tensor:
        """Normalised float32 images, (N, C, S, S), of uint8 ones or of normalised floating ones."""
        mean, std = self._mean, self._std
        unit = images.float() / 255 if images.dtype == torch.uint8 else images.float() * std + mean
        return (augment(unit, self._work, epoch, _known_ids(batch, came)) - mean) / std


def _known_ids(batch: Batch, came: int) -> NDArray[np.int64]:
    """The ids, (N,); filler goes by the largest of its batch. Where none is told, by the place in the epoch.

    In an epoch that was stopped and gone on with, that place is another one.
    """
    ids = batch.ids.numpy()
    largest = int(ids.max(initial=FILLER_ID))
    first = came if largest < 0 else largest + 1
    return np.where(ids < 0, np.arange(first, first + len(ids)), ids)


def require_shape(batch: Batch, work: Work) -> None:
    """Raise LoaderError for a batch (N, C, S, S) of a shape that the work does not ask for."""
    count, size = len(batch.ids), work.image_size
    expected = (count, work.channels, size, size)
    if tuple(batch.images.shape) != expected or len(batch.labels) != count:
        raise LoaderError(
            f"the loader yielded images of shape {tuple(batch.images.shape)}, {len(batch.labels)} labels and "
            f"{count} ids; the work asks for images of shape {expected}{_advice(batch.images, work)}"
        )


def _advice(images: torch.Tensor, work: Work) -> str:
    """What to change; the number of images in a batch is judged by who knows whether it is the last one."""
    shape = tuple(images.shape)
    if len(shape) != 4:
        return ": batches of images are wanted, (N, C, S, S)"
    if shape[1] != work.channels and shape[3] == work.channels:
        return ": put the channels first, images.permute(0, 3, 1, 2)"
    if shape[1] == work.channels and shape[2] == shape[3] != work.image_size:
        return f": give --size {shape[2]}, or crop to {work.image_size}"
    return ""


class _HostFinish:
    """Finishing on the CPU: uint8 * scale + shift over rows of S*C values, into memory that is reused.

    Viewed as rows, the constants broadcast along whole cache lines: 30 times faster than over 3 channels.
    Fresh memory for every batch would cost seven times the arithmetic in page faults.
    """

    def __init__(self, work: Work, augmenting: _Augmenting | None) -> None:
        self._work = work
        self._augmenting = augmenting
        self._dtype: torch.dtype = getattr(torch, work.compute_dtype)
        scale, shift = _scale_and_shift(work)
        self._scale = scale.repeat(work.image_size).numpy()
        self._shift = shift.repeat(work.image_size).numpy()
        self._memory, self._narrow_memory = ReusedMemory(), ReusedMemory()

    def stream(self) -> AbstractContextManager[object]:
        return nullcontext()

    def __call__(self, batch: Batch, epoch: int = 0, came: int = 0) -> Batch:
        require_shape(batch, self._work)
        images = batch.images
        if self._augmenting is not None:
            images = self._augmenting(batch, images, epoch, came)
        if images.dtype == torch.uint8:
            count, channels, height, width = images.shape
            rows = images.permute(0, 2, 3, 1).reshape(count * height, width * channels)
            images = self._normalised(rows).view(count, height, width, channels).permute(0, 3, 1, 2)
        else:
            images = images.to(self._dtype, memory_format=torch.channels_last)
        return Batch(images, batch.labels, batch.ids)

    def _normalised(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of uint8 as normalised ones of the compute dtype.

        In float32 to the end: in 16 bits the constants alone would be off by half a grey level.
        """
        from throughput.normalise import normalise_rows, normalise_rows_bfloat16

        if self._dtype == torch.bfloat16:
            narrow = self._narrow_memory.take(rows.numel(), torch.bfloat16).view(rows.shape)
            bits = narrow.view(torch.uint16).numpy()
            normalise_rows_bfloat16(rows.numpy(), self._scale, self._shift, bits)
            return narrow
        ready = self._memory.take(rows.numel(), torch.float32).view(rows.shape)
        normalise_rows(rows.numpy(), self._scale, self._shift, ready.numpy())
        if self._dtype == torch.float32:
            return ready
        return self._narrow_memory.take(rows.numel(), self._dtype).view(rows.shape).copy_(ready)

    def hand_over(self, ready: Batch) -> None:
        """Nothing to order: the CPU has finished."""


class _CudaFinish:
    """Transfer and finishing on a side stream of the device."""

    def __init__(self, work: Work, device: torch.device, augmenting: _Augmenting | None) -> None:
        self._work = work
        self._augmenting = augmenting
        self._device = device
        self._dtype: torch.dtype = getattr(torch, work.compute_dtype)
        scale, shift = _scale_and_shift(work)
        self._scale = scale.to(device).view(1, -1, 1, 1)
        self._shift = shift.to(device).view(1, -1, 1, 1)
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch types it not

    def stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream)

    def __call__(self, batch: Batch, epoch: int = 0, came: int = 0) -> Batch:
        require_shape(batch, self._work)
        images = batch.images
        if images.device.type == "cpu" and not images.is_pinned():
            # From pageable memory the transfer would make the host wait, and overlap with nothing.
            images = images.pin_memory()
        images = images.to(self._device, non_blocking=True)
        labels = batch.labels.to(self._device, non_blocking=True)
        if self._augmenting is not None:
            images = self._augmenting(batch, images, epoch, came)
        if images.dtype == torch.uint8:
            images = torch.addcmul(self._shift, images.float(), self._scale)
        images = images.to(self._dtype, memory_format=torch.channels_last)
        return Batch(images, labels, batch.ids)

    def hand_over(self, ready: Batch) -> None:
        consumer = torch.cuda.current_stream(self._device)
        consumer.wait_stream(self._stream)
        # Tells the allocator that the memory is in use on the caller's stream too.
        ready.images.record_stream(consumer)
        ready.labels.record_stream(consumer)


def _scale_and_shift(work: Work) -> tuple[torch.Tensor, torch.Tensor]:
    """(C,) float32 each, such that pixel * scale + shift is (pixel / 255 - mean) / std."""
    mean = torch.tensor(work.mean, dtype=torch.float64)
    std = torch.tensor(work.std, dtype=torch.float64)
    return (1 / (255 * std)).float(), (-mean / std).float()
