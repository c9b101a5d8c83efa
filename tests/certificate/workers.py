"""The usual recipe: torch's DataLoader over single images, its worker processes draw the crops."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recipes import RIGHT, normalised, render
from torch.utils.data import DataLoader, get_worker_info

from throughput.contracts import Batch, Loader, LoaderFactory, Work


@dataclass
class WorkersLoaderFactory(LoaderFactory):
    """one_seed: every worker draws the same numbers. each_epoch: other ones in each epoch."""

    one_seed: bool = False
    each_epoch: bool = True
    name = "workers"

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
        yield _WorkersLoader(work, self)


class _Images:
    def __init__(self, work: Work, factory: WorkersLoaderFactory, epoch: int) -> None:
        self._work, self._factory, self._epoch = work, factory, epoch
        self._stream: random.Random | None = None

    def __getitem__(self, sample: int) -> tuple[torch.Tensor, int, int]:
        if self._stream is None:
            worker = get_worker_info()
            assert worker is not None
            epoch = self._epoch if self._factory.each_epoch else 0
            shared = f"{self._work.seed} {epoch}"
            self._stream = random.Random(shared if self._factory.one_seed else worker.seed)
        pixels = torch.from_numpy(render(self._work, RIGHT, sample, self._stream)).permute(2, 0, 1)
        return pixels, int(self._work.source.labels[sample]), sample


class _WorkersLoader(Loader):
    def __init__(self, work: Work, factory: WorkersLoaderFactory) -> None:
        self._work, self._factory = work, factory
        self.samples_per_epoch = len(work.source.ids(work.split)[work.rank :: work.world_size])

    def epoch(self, index: int) -> Iterator[Batch]:
        work = self._work
        ids = work.source.ids(work.split)
        if work.split == "train":
            ids = np.random.default_rng([work.seed, index]).permutation(ids)
        generator = torch.Generator().manual_seed(1000 * work.seed + index)
        for images, labels, samples in DataLoader(
            _Images(work, self._factory, index),  # type: ignore[arg-type] # a dataset by its behaviour
            batch_size=work.batch_size,
            sampler=ids[work.rank :: work.world_size].tolist(),
            num_workers=work.workers,
            generator=generator,
        ):
            yield Batch(normalised(images, work), labels, samples)
