"""Each library as its own documentation would have it written: the arms that our loaders are held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from throughput.contracts import IMAGENET_MEAN, IMAGENET_STD


def plain_torchvision(folder: Path, batch_size: int, workers: int, size: int) -> Iterator[int]:
    """``ImageFolder`` and ``DataLoader``, as in torchvision's reference training script."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(str(folder), _transform(size))
    loader = DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, persistent_workers=True, pin_memory=False
    )
    while True:
        for images, labels in loader:
            images.to(memory_format=torch.channels_last)
            yield len(labels)


def plain_webdataset(shards: list[str], batch_size: int, workers: int, size: int) -> Iterator[int]:
    """``WebDataset`` and ``WebLoader``, as in WebDataset's ImageNet example."""
    import webdataset as wds

    dataset = (
        wds.WebDataset(shards, shardshuffle=len(shards), nodesplitter=wds.split_by_node)
        .shuffle(1000)
        .decode("pil")
        .to_tuple("jpg;png", "cls")
        .map_tuple(_rgb(_transform(size)), int)
        .batched(batch_size, partial=True)
    )
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=True)
    while True:
        for images, labels in loader:
            images.to(memory_format=torch.channels_last)
            yield len(labels)


def plain_dali(folder: Path, batch_size: int, workers: int, size: int) -> Iterator[int]:
    """``fn.readers.file`` and the fused random crop, as in DALI's ResNet-50 example."""
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.plugin.pytorch import DALIClassificationIterator, LastBatchPolicy

    @pipeline_def(batch_size=batch_size, num_threads=workers, device_id=None, seed=1)
    def pipeline():  # type: ignore[no-untyped-def] # DALI traces it
        jpegs, labels = fn.readers.file(
            file_root=str(folder), random_shuffle=True, pad_last_batch=True, name="Reader"
        )
        images = fn.decoders.image_random_crop(
            jpegs,
            device="cpu",
            output_type=types.RGB,
            random_aspect_ratio=[3 / 4, 4 / 3],
            random_area=[0.08, 1.0],
            num_attempts=10,
        )
        images = fn.resize(images, resize_x=size, resize_y=size, interp_type=types.INTERP_TRIANGULAR)
        images = fn.crop_mirror_normalize(
            images,
            dtype=types.FLOAT,
            output_layout="HWC",
            mean=[255 * value for value in IMAGENET_MEAN],
            std=[255 * value for value in IMAGENET_STD],
            mirror=fn.random.coin_flip(probability=0.5),
        )
        return images, labels

    built = pipeline()
    loader = DALIClassificationIterator(
        built, reader_name="Reader", last_batch_policy=LastBatchPolicy.PARTIAL, auto_reset=True
    )
    while True:
        for (batch,) in loader:
            batch["data"].permute(0, 3, 1, 2)
            yield len(batch["label"])


def _transform(size: int):  # type: ignore[no-untyped-def] # torchvision is not typed
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


class _rgb:  # noqa: N801 - reads as a function; a class so that workers can pickle it
    """Pillow's RGB before a transform, as ImageFolder does by itself."""

    def __init__(self, transform):  # type: ignore[no-untyped-def] # torchvision is not typed
        self._transform = transform

    def __call__(self, image):  # type: ignore[no-untyped-def] # as above
        return self._transform(image.convert("RGB"))
