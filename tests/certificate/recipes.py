"""A small loader that does the canonical work in its own way, and can be told to get any part of it wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageOps

from throughput.contracts import Batch, Loader, LoaderFactory, Source, Work

Ids = np.ndarray[Any, np.dtype[np.int64]]


def normalised(pixels: torch.Tensor, work: Work) -> torch.Tensor:
    """(N, C, S, S) uint8 in 0..255 to normalised float32."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (work.mean, work.std))
    return (pixels.float() / 255 - mean) / std


@dataclass(frozen=True)
class Recipe:
    """How one step of the work is done; the defaults are right.

    splits: where the rest of what is not a default holds; elsewhere all is right.
    box: (random stream, width, height) to left, top, width, height. finish: (N, C, S, S) uint8 to what is
    yielded. order: a rank's ids of an epoch, in order. relabel: (ids, labels, classes) to labels.
    stream: (seed, epoch, worker, workers, id) to the seed of a random stream, a new one for each sample where
    ``per_sample``. kept_every: one sample of so many has the same crop in each epoch. swap: (ids) to the ids
    whose pixels come.
    """

    splits: tuple[str, ...] = ("train", "val")
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    flip_down: float = 0.0
    bias: float = 1.0
    centre: bool = False
    filter: Literal["bilinear", "bicubic", "nearest", "no antialiasing"] = "bilinear"
    turned: bool = False
    quick_chroma: bool = False
    extra_pixels: int = 0
    shift: int = 0
    finish: Callable[[torch.Tensor, Work], torch.Tensor] = lambda pixels, work: pixels  # noqa: ARG005 - uint8 will do
    order: Callable[[Ids, Source], Ids] = lambda ids, source: ids  # noqa: ARG005 - all of them
    relabel: Callable[[Ids, int], Ids] = lambda labels, classes: labels  # noqa: ARG005 - the true ones
    swap: Callable[[Ids], Ids] = lambda ids: ids
    kept_every: int | None = None
    keyed: Literal["epoch and worker", "epoch", "worker", "sample"] = "epoch and worker"
    whole_rank: bool = False


RIGHT = Recipe()


@dataclass
class RecipeLoaderFactory(LoaderFactory):
    """In this process, with a random stream for each of the work's workers, who take turns at batches."""

    recipe: Recipe = field(default_factory=Recipe)
    name = "recipe"

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
        yield RecipeLoader(work, self.recipe if work.split in self.recipe.splits else RIGHT)


class RecipeLoader(Loader):
    def __init__(self, work: Work, recipe: Recipe) -> None:
        self.work, self.recipe = work, recipe
        self.samples_per_epoch = len(self._ids(0))

    def _ids(self, epoch: int) -> Ids:
        work = self.work
        ids = work.source.ids(work.split)
        if work.split == "train":
            ids = np.random.default_rng([work.seed, epoch, 77]).permutation(ids)
        if not self.recipe.whole_rank:
            ids = ids[work.rank :: work.world_size]
        return self.recipe.order(ids, work.source)

    def epoch(self, index: int) -> Iterator[Batch]:
        work, recipe = self.work, self.recipe
        ids = self._ids(index)
        streams = [
            random.Random(
                f"{work.seed}"
                f" {index if 'epoch' in recipe.keyed else ''}"
                f" {worker if 'worker' in recipe.keyed else ''}"
            )
            for worker in range(work.workers)
        ]
        for number, begin in enumerate(range(0, len(ids), work.batch_size)):
            part = ids[begin : begin + work.batch_size]
            stream = streams[number % work.workers]
            pixels = []
            for sample in recipe.swap(part).tolist():
                own = recipe.keyed == "sample"
                if own or (recipe.kept_every is not None and sample % recipe.kept_every == 0):
                    pixels.append(render(work, recipe, sample, random.Random(f"{work.seed} {sample}")))
                else:
                    pixels.append(render(work, recipe, sample, stream))
            images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
            labels = recipe.relabel(work.source.labels[part], len(work.source.classes))
            yield Batch(recipe.finish(images, work), torch.from_numpy(labels), torch.from_numpy(part))


def render(work: Work, recipe: Recipe, sample: int, stream: random.Random) -> np.ndarray[Any, Any]:
    """One image as the recipe makes it, (S, S, C) uint8."""
    image = decoded(
        work.source, sample, work.channels, turned=recipe.turned, quick_chroma=recipe.quick_chroma
    )
    size = work.image_size + recipe.extra_pixels
    if work.split == "val" or recipe.centre:
        shorter = round(size * 8 / 7)
        scale = shorter / min(image.size)
        width, height = (
            shorter if side == min(image.size) else int(shorter * side / min(image.size))
            for side in image.size
        )
        assert scale > 0
        whole = resize(image, (width, height), recipe.filter)
        left, top = round((width - size) / 2) + recipe.shift, round((height - size) / 2)
        pixels = whole[top : top + size, left : left + size]
    else:
        left, top, width, height = draw(stream, image.size, recipe)
        pixels = resize(image.crop((left, top, left + width, top + height)), (size, size), recipe.filter)
    if work.split == "train":
        if stream.random() < recipe.flip:
            pixels = pixels[:, ::-1]
        if stream.random() < recipe.flip_down:
            pixels = pixels[::-1]
    return pixels.copy()


def draw(stream: random.Random, size: tuple[int, int], recipe: Recipe) -> tuple[int, int, int, int]:
    """Left, top, width and height, drawn as RandomResizedCrop does; ``bias`` above 1 favours a corner."""
    width, height = size
    low, high = (math.log(bound) for bound in recipe.aspect)
    for _ in range(10):
        area = width * height * stream.uniform(*recipe.area)
        aspect = math.exp(stream.uniform(low, high))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = (
                int((room + 1) * stream.random() ** recipe.bias) for room in (width - wide, height - tall)
            )
            return left, top, wide, tall
    wide = min(width, round(height * recipe.aspect[1]))
    tall = min(height, round(width / recipe.aspect[0]))
    return (width - wide) // 2, (height - tall) // 2, wide, tall


def resize(image: Image.Image, size: tuple[int, int], how: str) -> np.ndarray[Any, Any]:
    """(height, width, C) uint8."""
    if how == "no antialiasing":
        tensor = torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1).permute(2, 0, 1)
        small = torch.nn.functional.interpolate(
            tensor[None].float(), (size[1], size[0]), mode="bilinear", antialias=False
        )
        return small[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    pixels = np.asarray(image.resize(size, Image.Resampling[how.upper()]))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


@lru_cache(maxsize=8192)
def _decoded(path: str, channels: int, turned: bool, quick_chroma: bool) -> Image.Image:
    if quick_chroma:
        data = Path(path).read_bytes()
        return Image.fromarray(simplejpeg.decode_jpeg(data, fastupsample=True))
    with Image.open(path) as image:
        return (ImageOps.exif_transpose(image) if turned else image).convert("RGB" if channels == 3 else "L")


def decoded(
    source: Source, sample: int, channels: int, *, turned: bool, quick_chroma: bool = False
) -> Image.Image:
    """Kept for the next recipe: decoding is what takes the time."""
    return _decoded(source.describe(sample), channels, turned, quick_chroma)
