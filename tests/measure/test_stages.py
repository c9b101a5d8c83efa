"""Time is told by stage, by the loader's own code where it offers that, and nothing is left changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from throughput.canonical import epoch_ids
from throughput.contracts import Loader, NoOptions, Source, Staged, Work
from throughput.errors import LoaderError, SampleError
from throughput.measure import stages
from throughput.measure.stages import render_stage_seconds, time_stages
from throughput.registry import load_loader
from throughput.sources import open_source
from throughput.testing import FakeLoaderFactory, FakeOptions, write_contract_images

PILLOW_STAGES = ["read", "decode", "transform", "collate", "finish"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("stages") / "images", 10))


@pytest.fixture
def work(source: Source) -> Work:
    return Work(source, image_size=32, batch_size=8, workers=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stages, "_WHOLE_SECONDS", 0.02)
    monkeypatch.setattr(stages, "_FINISH_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torchvision", PILLOW_STAGES),
        ("webdataset", PILLOW_STAGES),
        ("dali", ["read", "decode", "transform", "finish"]),
    ],
)
def test_each_loader_tells_its_stages_in_the_order_of_the_work(
    work: Work, name: str, expected: list[str]
) -> None:
    factory = load_loader(name)
    assert isinstance(factory, Staged)
    options = factory.Options()
    found = time_stages(factory, options, factory.prepare(work, options).work)
    assert list(found) == expected
    assert all(0 <= seconds < 10 for seconds in found.values())
    assert found["read"] > 0
    assert found["decode"] > 0
    assert found["finish"] > 0


def test_a_loader_that_tells_nothing_is_timed_as_a_whole(work: Work) -> None:
    assert not isinstance(FakeLoaderFactory(), Staged)
    found = time_stages(FakeLoaderFactory(), FakeOptions(), work)
    assert list(found) == ["loader", "finish"]
    assert found["loader"] > 0


class StagedFake(FakeLoaderFactory):
    """Claims so many seconds for an image, and remembers what it was asked."""

    Options = NoOptions

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked: list[list[int]] = []
        self.threads: list[int] = []

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
        with super().open(work, FakeOptions()) as loader:
            yield loader

    def stage_seconds(self, work: Work, options: Any, ids: NDArray[np.int64]) -> dict[str, float]:  # noqa: ARG002 - part of the contract
        self.asked.append(ids.tolist())
        self.threads.append(torch.get_num_threads())
        return {"decode": self.seconds}


@pytest.mark.parametrize(("seconds", "asked"), [(1e-6, [8, 28]), (1 / 20, [8, 20]), (1.0, [8])])
def test_as_many_images_as_a_second_allows(work: Work, seconds: float, asked: list[int]) -> None:
    factory = StagedFake(seconds)
    found = time_stages(factory, NoOptions(), work)
    assert list(found) == ["decode", "finish"]
    assert found["decode"] == seconds
    assert factory.asked == [epoch_ids(work, 0)[:count].tolist() for count in asked]


def test_one_thread_works_and_the_others_come_back(work: Work) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        factory = StagedFake(1.0)
        time_stages(factory, NoOptions(), work)
        assert factory.threads == [1]
        assert torch.get_num_threads() == 3
        factory.stage_seconds = None  # type: ignore[assignment,method-assign] # it fails when it is called
        with pytest.raises(TypeError):
            time_stages(factory, NoOptions(), work)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_each_stage_gets_the_time_that_its_own_code_takes(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that stands still but for what each function is made to cost."""
    now = 0.0

    def costing(seconds: float, call: Any) -> Any:
        def made_to_cost(*arguments: Any) -> Any:
            nonlocal now
            now += seconds
            return call(*arguments)

        return made_to_cost

    monkeypatch.setattr(stages.time, "thread_time", lambda: now)
    for name, seconds in (("open_image", 1.0), ("decode_image", 4.0), ("transform_image", 7.0)):
        monkeypatch.setattr(stages, name, costing(seconds, getattr(stages, name)))
    monkeypatch.setattr(stages, "boxes_of", costing(8.0, stages.boxes_of))
    ids = epoch_ids(work, 0)[:16]
    read = costing(32.0, lambda: [work.source.read(int(sample)) for sample in ids])
    found = render_stage_seconds(work, ids, read)
    # Two batches of eight: 8 s for the crops of a batch are 1 s for an image, and 32 s for 16 reads are 2 s.
    assert found == {"read": 2.0, "decode": 5.0, "transform": 8.0, "collate": 0.0}


def test_a_corrupt_sample_is_an_error_that_names_it(work: Work) -> None:
    ids = epoch_ids(work, 0)[:2]
    with pytest.raises(SampleError, match="not an image of a known type"):
        render_stage_seconds(work, ids, lambda: [b"no image", b"neither"])


def test_a_loader_without_batches_is_an_error(work: Work) -> None:
    class Empty(FakeLoaderFactory):
        @contextmanager
        def open(self, work: Work, options: FakeOptions) -> Iterator[Loader]:
            with super().open(work, options) as loader:
                loader.epoch = lambda index: iter(())  # type: ignore[method-assign] # noqa: ARG005 - the fault
                yield loader

    with pytest.raises(LoaderError, match="yielded no batch"):
        time_stages(Empty(), FakeOptions(inline=True), work)


def test_the_whole_goes_on_into_the_next_epoch(work: Work) -> None:
    found = time_stages(FakeLoaderFactory(), FakeOptions(inline=True), replace(work, batch_size=28))
    assert found["loader"] > 0
