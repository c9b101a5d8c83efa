"""Honest pipelines as their libraries' tutorials have them: every one draws crops of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from recipes import RIGHT, RecipeLoader

from throughput.contracts import Batch, Loader, LoaderFactory, Work


@dataclass
class PlainTorchvisionFactory(LoaderFactory):
    """DataLoader, torchvision's transforms, workers with torch's own seeds; ``version`` of the transforms."""

    version: int = 1
    name = "plain torchvision"

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
        yield _PlainTorchvision(work, self.version)


class _Images:
    def __init__(self, work: Work, version: int) -> None:
        self._work = work
        size, shorter = work.image_size, round(work.image_size * 8 / 7)
        if version == 1:
            from torchvision import transforms as t

            end: list[Any] = [t.ToTensor(), t.Normalize(work.mean, work.std)]
            begin: list[Any] = []
        else:
            from torchvision.transforms import v2 as t

            begin = [t.ToImage()]
            end = [t.ToDtype(torch.float32, scale=True), t.Normalize(list(work.mean), list(work.std))]
        crop = (
            [t.RandomResizedCrop(size, antialias=True), t.RandomHorizontalFlip()]
            if work.split == "train"
            else [t.Resize(shorter, antialias=True), t.CenterCrop(size)]
        )
        self._transform = t.Compose([*begin, *crop, *end])

    def __getitem__(self, sample: int) -> tuple[torch.Tensor, int, int]:
        from PIL import Image

        with Image.open(self._work.source.describe(sample)) as image:
            pixels = self._transform(image.convert("RGB"))
        return pixels, int(self._work.source.labels[sample]), sample


class _PlainTorchvision(Loader):
    def __init__(self, work: Work, version: int) -> None:
        self._work, self._version = work, version
        self._ids = work.source.ids(work.split)[work.rank :: work.world_size]
        self.samples_per_epoch = len(self._ids)

    def epoch(self, index: int) -> Iterator[Batch]:
        work = self._work
        generator = torch.Generator().manual_seed(work.seed * 7919 + index)
        order = range(len(self._ids))
        if work.split == "train":
            order = torch.randperm(len(self._ids), generator=generator).tolist()  # type: ignore[assignment] # a list
        for images, labels, ids in torch.utils.data.DataLoader(
            _Images(work, self._version),  # type: ignore[arg-type] # a dataset by its behaviour
            batch_size=work.batch_size,
            sampler=[int(self._ids[place]) for place in order],
            num_workers=work.workers,
            generator=generator,
        ):
            yield Batch(images, labels, ids)


class PlainDaliFactory(LoaderFactory):
    """The pipeline of DALI's ImageNet examples, with torchvision's area and aspect."""

    name = "plain dali"

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
        # DALI's own centre crop rounds halves the other way: that would be another work.
        yield _PlainDali(work) if work.split == "train" else RecipeLoader(work, RIGHT)


class _PlainDali(Loader):
    def __init__(self, work: Work) -> None:
        self._work = work
        self._ids = work.source.ids(work.split)[work.rank :: work.world_size]
        self.samples_per_epoch = len(self._ids)

    def epoch(self, index: int) -> Iterator[Batch]:
        from nvidia.dali import fn, pipeline_def, types

        work, size = self._work, self._work.image_size

        @pipeline_def(  # type: ignore[untyped-decorator] # DALI is not typed
            batch_size=work.batch_size,
            num_threads=work.workers,
            device_id=None,
            seed=work.seed * 7919 + 2 * index + 1,
        )
        def pipeline() -> Any:
            encoded, ids = fn.readers.file(
                files=[work.source.describe(int(sample)) for sample in self._ids],
                labels=self._ids.tolist(),
                random_shuffle=True,
                initial_fill=4096,
                pad_last_batch=True,
            )
            images = fn.decoders.image(
                encoded, output_type=types.RGB, adjust_orientation=False, jpeg_fancy_upsampling=True
            )
            crops = fn.random_resized_crop(
                images, size=size, random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3]
            )
            return fn.flip(crops, horizontal=fn.random.coin_flip(probability=0.5)), ids

        built = pipeline()
        built.build()
        left = len(self._ids)
        while left > 0:
            images, ids = built.run()
            count = min(left, work.batch_size)
            left -= count
            pixels = torch.utils.dlpack.from_dlpack(images.as_tensor())[:count].clone().permute(0, 3, 1, 2)
            numbers = torch.from_numpy(ids.as_array()[:count].reshape(-1).astype("int64"))
            yield Batch(pixels, torch.from_numpy(work.source.labels[numbers.numpy()]), numbers)
