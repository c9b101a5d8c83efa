"""For tests: a fake loader and a fake model, and the contract that any loader's tests can inherit.

    from throughput.testing import LoaderContract

    class TestMyLoader(LoaderContract):
        factory = MyLoaderFactory()

``throughput.testing:FakeLoaderFactory`` is a loader name that ``throughput bench`` takes, and
``throughput.testing:sleep_50ms`` a model name: ``throughput/fake.py`` tells what they do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from throughput.contracts import Batch, Loader, LoaderFactory, Resumable, Source, Split, Work
from throughput.errors import StateError, ThroughputError
from throughput.fake import (
    FakeLoaderFactory,
    FakeOptions,
    SleepingModel,
    sleep_10ms,
    sleep_50ms,
    sleep_200ms,
)
from throughput.measure.feed import Feed
from throughput.pixels import render_batch
from throughput.resuming import merged
from throughput.sources import open_source
from throughput.sources.pack import pack

__all__ = [
    "CLASS_COLOURS",
    "FakeLoaderFactory",
    "FakeOptions",
    "LoaderContract",
    "SleepingModel",
    "sleep_10ms",
    "sleep_50ms",
    "sleep_200ms",
    "write_contract_images",
]

CLASS_COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 50), "red": (230, 30, 40)}
"""Class folders of the contract's images, and their mean colour: a swapped channel shows."""


def write_contract_images(folder: Path, images_per_class: int = 9) -> Path:
    """Write small images of many kinds, sizes and both orientations as class folders."""
    for label, (name, colour) in enumerate(CLASS_COLOURS.items()):
        (folder / name).mkdir(parents=True)
        for number in range(images_per_class):
            rng = np.random.default_rng([label, number])
            height, width = int(rng.integers(40, 90)), int(rng.integers(40, 90))
            # Coarse detail only: chroma subsampling would blur what is finer.
            coarse = rng.integers(-20, 20, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)
            pixels = np.clip(coarse[:height, :width] + np.array(colour), 0, 255).astype(np.uint8)
            image, path = Image.fromarray(pixels), folder / name / f"{number:03d}"
            match number:
                case 1:
                    image.save(path.with_suffix(".png"))
                case 2:
                    image.save(path.with_suffix(".webp"), quality=95)
                case 3:
                    image.convert("CMYK").save(path.with_suffix(".jpg"), quality=95)
                case 4:
                    image.save(path.with_suffix(".jpg"), quality=95, progressive=True, subsampling=0)
                case 5:
                    rotated = Image.Exif()
                    rotated[0x0112] = 6  # "turn me right": the canonical work does not
                    image.save(path.with_suffix(".jpeg"), quality=95, exif=rotated)
                case _:
                    image.save(path.with_suffix(".JPEG"), quality=95)
    grey = np.full((50, 60), 128, np.uint8)
    Image.fromarray(grey).save(folder / "red" / "grey.jpg", quality=95)
    return folder


class LoaderContract:
    """What every loader must do. Inherit, and set ``factory``; override ``options`` for other knobs.

    order_depends_on_workers: a loader that streams may deliver another order with other workers.
    draws_canonical_crops: its train crops are those of ``throughput.canonical``, pixel for pixel.
    device: where batches become ready. largest_mean_error: of an image against Pillow's, in grey levels
    of 0..255; one is what CPU decoders reach.
    """

    factory: LoaderFactory
    options: Any = None
    order_depends_on_workers = False
    draws_canonical_crops = True
    device = "cpu"
    largest_mean_error = 1.0

    @pytest.fixture(scope="class", params=["folder", "shards"])
    @classmethod
    def source(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
        """The contract's images, as a folder and as shards."""
        root = tmp_path_factory.mktemp("contract")
        folder = open_source(write_contract_images(root / "images"))
        if request.param == "folder":
            return folder
        pack(folder, root / "shards", samples_per_shard=7)
        return open_source(root / "shards")

    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))

    def work(self, source: Source, split: Split = "train", **changes: Any) -> Work:
        """A small work over ``source``: 32 px, batches of 8, 2 workers."""
        return replace(
            Work(source, split, image_size=32, batch_size=8, workers=2, device=self.device), **changes
        )

    @contextmanager
    def opened(self, work: Work) -> Iterator[Loader]:
        """Prepare and open, as the harness does."""
        options = self.factory.Options() if self.options is None else self.options
        prepared = self.factory.prepare(work, options)
        with self.factory.open(prepared.work, options) as loader:
            yield loader

    @contextmanager
    def resumable(self, work: Work) -> Iterator[Any]:
        """``opened``, where the loader tells what it has delivered; else the test is skipped."""
        with self.opened(work) as loader:
            if not isinstance(loader, Resumable):
                pytest.skip("this loader does not tell what it has delivered")
            yield loader

    def images_of(self, batches: Iterator[Batch]) -> dict[int, torch.Tensor]:
        """Images by id, in the order in which they came; each comes once."""
        came: dict[int, torch.Tensor] = {}
        for batch in batches:
            for sample, image in zip(batch.ids.tolist(), batch.images.clone(), strict=True):
                assert sample not in came
                came[sample] = image
        return came

    def ids_of(self, loader: Loader, epoch: int) -> list[int]:
        """Ids of an epoch in the order in which they came."""
        return [int(sample) for batch in loader.epoch(epoch) for sample in batch.ids]

    @pytest.mark.parametrize("split", ["train", "val"])
    def test_every_sample_comes_once_with_its_label(self, source: Source, split: Split) -> None:
        work = self.work(source, split)
        expected = source.ids(split)
        with self.opened(work) as loader:
            assert loader.samples_per_epoch == len(expected)
            for epoch in range(2):
                batches = [
                    Batch(*(tensor.clone() for tensor in batch)) for batch in Feed(loader, work).epoch(epoch)
                ]
                ids = torch.cat([batch.ids for batch in batches])
                labels = torch.cat([batch.labels for batch in batches])
                assert sorted(ids.tolist()) == expected.tolist()
                assert labels.tolist() == source.labels[ids.numpy()].tolist()

    def test_only_the_last_batch_is_smaller(self, source: Source) -> None:
        work = self.work(source)
        with self.opened(work) as loader:
            sizes = [len(batch.ids) for batch in loader.epoch(0)]
        whole, rest = divmod(len(source.ids("train")), work.batch_size)
        assert sizes == [work.batch_size] * whole + [rest] * (rest > 0)

    def test_batches_have_the_shapes_and_types_of_the_contract(self, source: Source) -> None:
        with self.opened(self.work(source)) as loader:
            batch = next(iter(loader.epoch(0)))
        assert tuple(batch.images.shape) == (8, 3, 32, 32)
        assert batch.images.dtype == torch.uint8 or batch.images.is_floating_point()
        assert batch.labels.dtype == torch.int64
        assert batch.labels.shape == (8,)
        assert batch.ids.dtype == torch.int64
        assert batch.ids.device.type == "cpu"

    def test_held_out_pixels_are_those_of_pillow(self, source: Source) -> None:
        work = self.work(source, "val")
        self._compare(work, 0)

    def test_train_pixels_are_those_of_the_canonical_crops(self, source: Source) -> None:
        if not self.draws_canonical_crops:
            pytest.skip("this loader draws its own crops")
        for epoch in range(2):
            self._compare(self.work(source), epoch)

    def test_grey_work_has_one_channel(self, source: Source) -> None:
        work = self.work(source, "val", channels=1, mean=(0.5,), std=(0.25,))
        self._compare(work, 0)

    def test_channels_are_red_green_blue(self, source: Source) -> None:
        names = list(CLASS_COLOURS)
        work = self.work(source, "val")
        with self.opened(work) as loader:
            for batch in Feed(loader, work).epoch(0):
                strongest = batch.images.float().mean(dim=(2, 3)).argmax(dim=1)
                for channel, label in zip(strongest.tolist(), batch.labels.tolist(), strict=True):
                    assert names[label] == ("red", "green", "blue")[channel]

    def test_epochs_differ_and_seeds_repeat(self, source: Source) -> None:
        work = self.work(source)
        with self.opened(work) as loader:
            first, second = self.ids_of(loader, 0), self.ids_of(loader, 1)
        with self.opened(work) as loader:
            assert self.ids_of(loader, 1) == second, "epoch 1 is the same without epoch 0 before it"
            assert self.ids_of(loader, 0) == first
        with self.opened(replace(work, seed=1)) as loader:
            other = self.ids_of(loader, 0)
        assert first != second
        assert first != other
        assert first != sorted(first)

    def test_the_order_does_not_depend_on_the_number_of_workers(self, source: Source) -> None:
        if self.order_depends_on_workers:
            pytest.skip("documented: this loader streams, and its order depends on its workers")
        orders = []
        for workers in (1, 3):
            with self.opened(self.work(source, workers=workers)) as loader:
                orders.append(self.ids_of(loader, 0))
        assert orders[0] == orders[1]

    @pytest.mark.parametrize("split", ["train", "val"])
    def test_ranks_are_disjoint_and_cover_everything(self, source: Source, split: Split) -> None:
        came: list[int] = []
        for rank in range(3):
            work = self.work(source, split, rank=rank, world_size=3, batch_size=4)
            with self.opened(work) as loader:
                ids = self.ids_of(loader, 0)
                assert len(ids) == loader.samples_per_epoch
                came += ids
        assert sorted(came) == source.ids(split).tolist()

    def test_an_epoch_may_be_left_early(self, source: Source) -> None:
        with self.opened(self.work(source)) as loader:
            next(iter(loader.epoch(0)))
            assert sorted(self.ids_of(loader, 1)) == source.ids("train").tolist()

    def test_an_epoch_that_is_still_read_takes_nothing_from_the_next(self, source: Source) -> None:
        with self.opened(self.work(source)) as loader:
            older = iter(loader.epoch(0))
            next(older)
            newer = iter(loader.epoch(1))
            came = next(newer).ids.tolist()
            with suppress(ThroughputError):  # it may say that another epoch was begun
                next(older, None)
            came += [sample for batch in newer for sample in batch.ids.tolist()]
            assert sorted(came) == source.ids("train").tolist()

    @pytest.mark.parametrize(("split", "batch_size"), [("train", 4), ("val", 1)])
    def test_a_state_brings_exactly_the_rest(self, source: Source, split: Split, batch_size: int) -> None:
        work = self.work(source, split, batch_size=batch_size)
        with self.resumable(work) as loader:
            batches = loader.epoch(1)
            first = [sample for _ in range(2) for sample in next(batches).ids.tolist()]
            state = json.loads(json.dumps(loader.state_dict()))
            rest = self.images_of(batches)
            following = self.ids_of(loader, 2)
        with self.resumable(replace(work, workers=3)) as loader:
            loader.load_state_dict(state)
            assert state["epoch"] == 1
            came = self.images_of(loader.epoch(1))
            end = loader.state_dict()
            after = self.ids_of(loader, 2)
            assert self.ids_of(loader, 1) != list(came), "the second time, the epoch is whole"
        assert sorted([*first, *came]) == source.ids(split).tolist()
        assert sorted(came) == sorted(rest)
        assert sorted(after) == source.ids(split).tolist()
        if self.device == "cpu":  # a GPU may decode some images of a batch in another way than the others
            assert all(torch.equal(image, rest[sample]) for sample, image in came.items()), "other crops"
        if not self.order_depends_on_workers:
            assert (list(came), after) == (list(rest), following)
        with self.resumable(work) as loader:
            loader.load_state_dict(end)
            assert self.ids_of(loader, 1) == [], "all of it was delivered"
            assert sorted(self.ids_of(loader, 2)) == source.ids(split).tolist()

    def test_states_of_all_ranks_go_on_in_another_number_of_ranks(self, source: Source) -> None:
        came, states = [], []
        for rank in range(3):
            with self.resumable(
                self.work(source, workers=1, batch_size=2, rank=rank, world_size=3)
            ) as loader:
                came += next(loader.epoch(1)).ids.tolist()
                states.append(loader.state_dict())
        with pytest.raises(StateError, match="states of all ranks"):
            merged(states[:2])
        for rank in range(2):
            with self.resumable(self.work(source, workers=1, rank=rank, world_size=2)) as loader:
                with pytest.raises(StateError, match="rank 2 of 3"):
                    loader.load_state_dict(states[2])
                loader.load_state_dict(merged(states))
                came += self.ids_of(loader, 1)
        assert sorted(came) == source.ids("train").tolist()

    def test_a_state_of_other_work_is_refused(self, source: Source) -> None:
        with self.resumable(self.work(source, seed=1)) as loader:
            next(loader.epoch(0))
            state = loader.state_dict()
        for changes in ({"split": "val", "seed": 1, "batch_size": 1}, {"seed": 0}):
            with (
                self.resumable(replace(self.work(source), **changes)) as loader,
                pytest.raises(StateError, match="was taken with another"),
            ):
                loader.load_state_dict(state)
        with self.resumable(self.work(source, seed=1)) as loader:
            marks = ({"by_rank": "AA=="}, {"by_rank": "%"})
            counts = ({"bad_of_rank": -1}, {"bad_of_rank": state["samples"] + 1}, {"bad_of_all": 1})
            for damage in ({"data": "another"}, {"epoch": -1}, *marks, *counts):
                with pytest.raises(StateError):
                    loader.load_state_dict(state | damage)
            assert sorted(self.ids_of(loader, 0)) == source.ids("train").tolist()

    def test_no_process_is_left(self, source: Source) -> None:
        before = {process.pid for process in psutil.Process().children(recursive=True)}
        with self.opened(self.work(source)) as loader:
            next(iter(loader.epoch(0)))
        after = [
            process
            for process in psutil.Process().children(recursive=True)
            # multiprocessing's own resource tracker lives as long as this process.
            if process.pid not in before and "resource_tracker" not in " ".join(process.cmdline())
        ]
        assert after == []

    def _compare(self, work: Work, epoch: int) -> None:
        """Ready batches against Pillow's pixels, in grey levels of 0..255."""
        mean, std = (np.array(values) for values in (work.mean, work.std))
        with self.opened(work) as loader:
            for batch in Feed(loader, work).epoch(epoch):
                ready: NDArray[np.float64] = batch.images.double().cpu().permute(0, 2, 3, 1).numpy()
                ids = batch.ids.numpy()
                encoded = [work.source.read(int(sample)) for sample in ids]
                wanted = render_batch(work, epoch, ids, encoded).astype(np.float64)
                error = np.abs(255 * (ready * std + mean) - wanted)
                worst = error.mean(axis=(1, 2, 3)).argmax()
                assert error[worst].mean() <= self.largest_mean_error, work.source.describe(int(ids[worst]))
                assert np.percentile(error, 99) <= 4
