"""What a loader delivers: opened as the bench opens it, its ready batches looked at one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from throughput.contracts import UNKNOWN_ID, Batch, Loader, LoaderFactory, Work
from throughput.errors import CacheError, RoomError
from throughput.measure.feed import Feed

Look = Callable[[torch.Tensor, NDArray[np.int64]], None]
"""Told of each batch: ready images (N, C, S, S), and their ids, (N,) int64 without filler."""


class BrokenError(Exception):
    """The loader cannot be judged further. check: the last part of the name of the check that it failed."""

    def __init__(self, check: str, words: str) -> None:
        super().__init__(words)
        self.check = check
        self.words = words


class UnknownIdsError(Exception):
    """The pipeline does not tell which samples its batches hold."""


@dataclass
class Epoch:
    """ids: (M,) int64 in the order in which they came, without filler. labels: theirs, as in a batch."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64] | NDArray[np.float32]


@dataclass
class Delivery:
    """epochs: what came in each. dtypes: of the loader's own batches. stopped: left before its end."""

    epochs: list[Epoch] = field(default_factory=list)
    dtypes: set[str] = field(default_factory=set)
    stopped: bool = False


def deliver(
    factory: LoaderFactory,
    options: Any,
    work: Work,
    epochs: Sequence[int],
    look: Look | None = None,
    *,
    most_samples: int | None = None,
) -> Delivery:
    """Open the loader and take whole epochs, or each until ``most_samples`` have come.

    Batches are made ready where there is a ``look`` to take at them; else only ids and labels are kept.
    Raises BrokenError for whatever the loader does that a loader must not, UnknownIdsError, and
    RoomError or CacheError.
    """
    try:
        return _deliver(factory, options, work, epochs, look, most_samples)
    except (BrokenError, UnknownIdsError, RoomError, CacheError):
        raise  # a full disk or a cache that others may write to is not the loader's fault
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise BrokenError("run", f"the loader failed: {cause[:400]}") from error


def _deliver(
    factory: LoaderFactory,
    options: Any,
    work: Work,
    epochs: Sequence[int],
    look: Look | None,
    most_samples: int | None,
) -> Delivery:
    expected = len(work.source.ids(work.split))
    # One that repeats itself without end must not hold the certificate up.
    patience = 2 * expected + work.batch_size
    delivery = Delivery()
    prepared = factory.prepare(work, options)
    with factory.open(prepared.work, options) as loader:
        watched = _Watched(loader, prepared.work, delivery)
        batches = watched.epoch if look is None else Feed(watched, prepared.work).epoch
        for index in epochs:
            ids: list[NDArray[np.int64]] = []
            labels: list[NDArray[Any]] = [work.source.labels[:0]]
            came = 0
            for batch in batches(index):
                batch_ids = batch.ids.numpy()
                real = batch_ids >= 0
                ids.append(batch_ids[real].copy())
                labels.append(batch.labels.cpu().numpy()[real].copy())
                if look is not None:
                    _require_dtype(batch.images, work)
                    images = batch.images if real.all() else batch.images[torch.from_numpy(real)]
                    look(images, ids[-1])
                came += len(batch_ids)
                if most_samples is not None and came >= most_samples and came < expected:
                    delivery.stopped = True
                    break
                if came > patience:
                    break
            nothing = np.empty(0, np.int64)
            delivery.epochs.append(Epoch(np.concatenate([nothing, *ids]), np.concatenate(labels)))
    return delivery


class _Watched(Loader):
    """The loader, with its raw batches held against the contract before anything is done to them."""

    def __init__(self, loader: Loader, work: Work, delivery: Delivery) -> None:
        self._loader = loader
        self._work = work
        self._delivery = delivery
        self.samples_per_epoch = loader.samples_per_epoch

    def epoch(self, index: int) -> Iterator[Batch]:
        for batch in self._loader.epoch(index):
            images, labels, ids = batch
            _require_types(images, labels, ids, "int64" if self._work.source.classes else "float32")
            _require_shapes(images, labels, ids, self._work)
            if (ids == UNKNOWN_ID).any():
                raise UnknownIdsError
            self._delivery.dtypes.add(str(images.dtype).removeprefix("torch."))
            yield Batch(images, labels, ids)


def _require_dtype(ready: torch.Tensor, work: Work) -> None:
    if ready.dtype != getattr(torch, work.compute_dtype):
        raise BrokenError("dtype", f"ready images are {_name(ready)}, not {work.compute_dtype}")


def _require_types(images: Any, labels: Any, ids: Any, wanted_labels: str) -> None:
    for name, value in (("images", images), ("labels", labels), ("ids", ids)):
        if not isinstance(value, torch.Tensor):
            raise BrokenError("dtype", f"{name} are a {type(value).__name__}, not a torch.Tensor")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise BrokenError(
            "dtype", f"images are {_name(images)}: they must be uint8 (0..255) or floating and normalised"
        )
    if _name(labels) != wanted_labels:
        raise BrokenError("dtype", f"labels are {_name(labels)}, not {wanted_labels}")
    if ids.dtype != torch.int64 or ids.device.type != "cpu":
        raise BrokenError("dtype", f"ids are {_name(ids)} on {ids.device}: they must be int64 on the host")


def _require_shapes(images: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor, work: Work) -> None:
    size, shape = work.image_size, tuple(images.shape)
    wanted = (len(ids), work.channels, size, size)
    if shape != wanted:
        words = f"images come as {_by(shape)} in place of {_by(wanted)}"
        if len(shape) == 4 and shape[2:] != (size, size) and shape[1] == work.channels:
            words = f"images come {shape[3]} x {shape[2]} pixels large in place of {size} x {size}"
        raise BrokenError("shape", words)
    if tuple(labels.shape) != (len(ids), *work.source.labels.shape[1:]):
        raise BrokenError("shape", f"labels come as {_by(tuple(labels.shape))} for {len(ids)} images")


def _name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _by(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
