"""What teams run today, as their documentation shows it: pipelines that ours are held against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from throughput.contracts import Work


def stock_torchvision(work: Work) -> Any:
    """ImageFolder, Pillow, float32 and Normalize in the workers: torchvision's documented recipe."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    size = work.image_size
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(work.mean, work.std),
        ]
    )
    return _data_loader(ImageFolder(work.source.location, transform), work)


def torchvision_decode_jpeg(work: Work) -> Any:
    """ImageFolder with torchvision's own decoder and transforms on uint8 tensors."""
    from torchvision.datasets import ImageFolder
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms import v2

    transform = v2.Compose([v2.RandomResizedCrop(work.image_size, antialias=True), v2.RandomHorizontalFlip()])

    def load(path: str) -> Tensor:
        return decode_image(read_file(path), ImageReadMode.RGB)

    return _data_loader(ImageFolder(work.source.location, transform, loader=load), work)


def dali_fused(work: Work) -> Any:
    """DALI's file reader, fused random crop decoding, and crop_mirror_normalize, on the CPU."""
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy

    @pipeline_def(batch_size=work.batch_size, num_threads=work.workers, device_id=None, seed=work.seed)
    def pipeline() -> Any:
        encoded, labels = fn.readers.file(
            file_root=work.source.location, random_shuffle=True, name="reader", pad_last_batch=True
        )
        images = fn.decoders.image_random_crop(
            encoded, device="cpu", random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3]
        )
        images = fn.resize(images, size=[work.image_size] * 2, antialias=True)
        images = fn.crop_mirror_normalize(
            images,
            mean=[255 * one for one in work.mean],
            std=[255 * one for one in work.std],
            mirror=fn.random.coin_flip(),
            dtype=types.FLOAT,
            output_layout="CHW",
        )
        return images, labels

    iterator = DALIGenericIterator(
        [pipeline()], ["images", "labels"], reader_name="reader", last_batch_policy=LastBatchPolicy.PARTIAL,
        auto_reset=True,
    )  # fmt: skip
    return _DaliBatches(iterator)


class _DaliBatches:
    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for (batch,) in self._iterator:
            yield batch["images"], batch["labels"].view(-1).long()


def _data_loader(dataset: Any, work: Work) -> Any:
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=work.batch_size,
        shuffle=True,
        num_workers=work.workers,
        persistent_workers=True,
        prefetch_factor=2,
    )
