"""A loader's batches laid out as a graph takes them; what that costs counts as the loader's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor

from throughput.contracts import Batch, Fault, Loader, Work
from throughput.errors import LoaderError
from throughput.measure.feed import Feed, require_shape
from throughput.memory import ReusedMemory


class PlaneFeed:
    """Ready batches with their channels as planes, (N, C, S, S) contiguous, as a graph takes them."""

    def __init__(self, feed: Feed) -> None:
        self.samples_per_epoch = feed.samples_per_epoch
        self._feed = feed
        self._memory = ReusedMemory()

    def epoch(self, index: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        for batch in self._feed.epoch(index):
            images = batch.images
            if images.device.type == "cpu":
                planes = self._memory.take(images.numel(), images.dtype).view(images.shape).copy_(images)
            else:
                planes = images.contiguous()
            yield batch._replace(images=planes)

    def take_faults(self) -> list[Fault]:
        """The loader's bad samples since this was last asked."""
        return self._feed.take_faults()


class PixelFeed:
    """A loader's own uint8 batches as (N, S, S, C), for a graph that normalises by itself."""

    def __init__(self, loader: Loader, work: Work) -> None:
        self.samples_per_epoch = loader.samples_per_epoch
        self._loader = loader
        self._work = work
        self._device = torch.device(work.device)
        self._stream = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call] # torch types it not

    def epoch(self, index: int) -> Iterator[Batch]:
        """Yield the batches of an epoch. Raises LoaderError for what are no such images."""
        batches = self._loader.epoch(index)
        while True:
            # As in ``measure.feed``: what the loader does on the device goes on beside the session.
            with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
                batch = next(batches, None)
                if batch is None:
                    return
                ready = batch._replace(images=self._ready(batch))
            if self._stream is not None:
                session = torch.cuda.current_stream(self._device)
                session.wait_stream(self._stream)
                ready.images.record_stream(session)
            yield ready

    def take_faults(self) -> list[Fault]:
        """The loader's bad samples since this was last asked."""
        return self._loader.take_faults()

    def _ready(self, batch: Batch) -> Tensor:
        require_shape(batch, self._work)
        if batch.images.dtype != torch.uint8:
            raise LoaderError(
                "the model normalises by itself and takes uint8 images, and this loader yields "
                f"{batch.images.dtype}: export without --embed-preprocessing, or choose another loader"
            )
        pixels = batch.images.permute(0, 2, 3, 1).contiguous()
        if self._stream is not None and pixels.device.type == "cpu" and not pixels.is_pinned():
            pixels = pixels.pin_memory()
        return pixels.to(self._device, non_blocking=True)
