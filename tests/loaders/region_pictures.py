"""Images to cut regions of, and their crops as roi renders them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from throughput.contracts import Source, Split, Work
from throughput.loaders.regions import Renderer, Ways
from throughput.sources import open_source

Pixels = NDArray[np.uint8]


def picture(number: int) -> Pixels:
    """A photo-like image of its own size, (H, W, 3): waves, an edge and noise."""
    rng = np.random.default_rng(number)
    height, width = (int(side) for side in rng.integers(150, 420, 2))
    down, across = np.mgrid[:height, :width]
    waves = [np.sin(down / rng.uniform(9, 40)) + np.cos(across / rng.uniform(9, 40)) for _ in range(3)]
    pixels = 128 + 45 * np.stack(waves, axis=2) + rng.normal(0, 6, (height, width, 3))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def by_pillow(image: Image.Image, kind: str = "JPEG", **settings: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **settings)
    return data.getvalue()


def every_id(source: Source) -> NDArray[np.int64]:
    return np.arange(len(source.labels), dtype=np.int64)


def work_over(source: Source, split: Split = "train", **changes: Any) -> Work:
    return replace(Work(source, split, image_size=48, batch_size=8), **changes)


def rendered(work: Work, ways: Ways, ids: NDArray[np.int64] | None = None, epoch: int = 0) -> Pixels:
    ids = every_id(work.source) if ids is None else ids
    out = np.full((len(ids), work.image_size, work.image_size, work.channels), 99, np.uint8)
    Renderer(work, ways).render(epoch, ids, out)
    return out


def written(root: Path, images: dict[str, bytes]) -> Source:
    """A folder of one class."""
    (root / "one").mkdir(parents=True)
    for name, data in images.items():
        (root / "one" / name).write_bytes(data)
    return open_source(root)
