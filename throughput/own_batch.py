"""What people call a batch, as a ``Batch``; whatever cannot be one is refused in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from throughput.contracts import UNKNOWN_ID, Batch
from throughput.errors import LoaderError

if TYPE_CHECKING:
    from torch import Tensor

_IMAGES = ("images", "image", "data", "pixel_values")
_LABELS = ("labels", "label")
_IDS = ("ids", "id")
"""Keys under which pipelines that yield dictionaries hold them."""


def as_batch(item: object, channels: int) -> Batch:
    """``item`` as images (N, C, S, S) uint8 or floating, labels (N,) int64 and ids (N,) int64 on the host.

    item: (images, labels), (images, labels, ids) or a mapping with these, of tensors or arrays. Without
    ids each is UNKNOWN_ID. Neither S nor the values of images are judged. Raises LoaderError.
    """
    import torch

    images, labels, ids = _parts(item)
    batch_images = _images(images, channels)
    count = len(batch_images)
    batch_labels = _whole_numbers("labels", labels)
    if len(batch_labels) != count:
        raise LoaderError(f"the pipeline yielded {count} images with {len(batch_labels)} labels")
    if ids is None:
        return Batch(batch_images, batch_labels, torch.full((count,), UNKNOWN_ID, dtype=torch.int64))
    batch_ids = _whole_numbers("ids", ids).cpu()
    if len(batch_ids) != count:
        raise LoaderError(f"the pipeline yielded {count} images with {len(batch_ids)} ids")
    return Batch(batch_images, batch_labels, batch_ids)


def _parts(item: object) -> tuple[Any, Any, Any]:
    if isinstance(item, (list, tuple)) and len(item) == 1 and isinstance(item[0], Mapping):
        item = item[0]  # DALI's iterators yield a list, with one dictionary for each GPU
    if isinstance(item, Mapping):
        images, labels, ids = (
            next((item[key] for key in keys if key in item), None) for keys in (_IMAGES, _LABELS, _IDS)
        )
        if images is None or labels is None:
            raise LoaderError(
                f"the pipeline yielded a dictionary of {', '.join(map(str, item)) or 'nothing'}: "
                "it must hold images and labels, and may hold ids"
            )
        return images, labels, ids
    if isinstance(item, (list, tuple)) and len(item) in (2, 3):
        return item[0], item[1], item[2] if len(item) == 3 else None
    length = f" of length {len(item)}" if isinstance(item, (list, tuple)) else ""
    raise LoaderError(
        f"the pipeline yielded a {type(item).__name__}{length}: a batch is (images, labels) or "
        "(images, labels, ids), or a dictionary with these keys"
    )


def _images(value: Any, channels: int) -> Tensor:
    images = _tensor("images", value)
    shape = tuple(images.shape)
    if images.ndim != 4:
        single = ": one image is no batch, let a DataLoader collate them" if images.ndim == 3 else ""
        raise LoaderError(f"the pipeline yielded images of shape {shape}; (N, C, S, S) is wanted{single}")
    if shape[1] != channels and shape[3] == channels:
        raise LoaderError(
            f"the pipeline yielded images of shape {shape}, with the channels last: put them first, as "
            "images.permute(0, 3, 1, 2) or numpy.moveaxis(images, 3, 1) does"
        )
    if str(images.dtype) != "torch.uint8" and not images.is_floating_point():
        raise LoaderError(
            f"the pipeline yielded images of {images.dtype}: uint8 in 0..255, or floating and normalised"
        )
    return images.detach()


def _whole_numbers(name: str, value: Any) -> Tensor:
    """(N,) int64, also from (N, 1)."""
    import torch

    numbers = _tensor(name, value)
    shape = tuple(numbers.shape)
    if numbers.ndim == 2 and shape[1] == 1:
        numbers = numbers[:, 0]
    elif numbers.ndim != 1:
        one_hot = (
            ": of one-hot or soft labels take argmax(1)" if name == "labels" and numbers.ndim == 2 else ""
        )
        raise LoaderError(f"the pipeline yielded {name} of shape {shape}; (N,) is wanted{one_hot}")
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise LoaderError(f"the pipeline yielded {name} of {numbers.dtype}; whole numbers are wanted (int64)")
    return numbers.to(torch.int64)


def _tensor(name: str, value: Any) -> Tensor:
    """A tensor over the same memory where that can be."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return value
    try:
        array = np.asarray(value)
        if any(stride < 0 for stride in array.strides):
            array = np.ascontiguousarray(array)  # torch has no tensors that run backwards
        return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise LoaderError(
            f"the pipeline yielded {name} of type {type(value).__name__}, which torch cannot take: "
            "give a tensor or an array of numbers"
        ) from error
