"""The fake loader is like a real one: ahead, in order, on cores of its own, and gone when it should be."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
import torch

from throughput.canonical import epoch_batches
from throughput.contracts import Batch, Loader, Source, Work
from throughput.errors import OptionError
from throughput.fake import burn
from throughput.sources import open_source
from throughput.testing import (
    FakeLoaderFactory,
    FakeOptions,
    LoaderContract,
    sleep_10ms,
    write_contract_images,
)

FACTORY = FakeLoaderFactory()
DEADLINE_SECONDS = 30


class TestFakeLoader(LoaderContract):
    """Its images are black: what the contract says of pixels is not for it."""

    factory = FACTORY
    draws_canonical_crops = False
    test_held_out_pixels_are_those_of_pillow = None
    test_grey_work_has_one_channel = None
    test_channels_are_red_green_blue = None


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("fake") / "images"))


@pytest.fixture
def work(source: Source) -> Work:
    return Work(source, image_size=32, batch_size=4, workers=2)


def fakes() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "throughput-fake"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert fakes() == []


def ids_of(batches: Iterator[Batch]) -> list[list[int]]:
    return [batch.ids.tolist() for batch in batches]


def wanted(work: Work, epoch: int) -> list[list[int]]:
    return [ids.tolist() for ids in epoch_batches(work, epoch)]


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_in_order_whoever_makes_them(work: Work, inline: bool, workers: int) -> None:
    work = replace(work, workers=workers)
    with FACTORY.open(work, FakeOptions(inline=inline, busy_seconds=0.0005)) as loader:
        for epoch in (0, 1, 5):
            assert ids_of(loader.epoch(epoch)) == wanted(work, epoch)


def made_without_asking(loader: Loader, least: int) -> int:
    """Batches that lie ready once there are ``least``; the threads are looked at, nothing is pulled."""
    threads = loader._threads  # type: ignore[attr-defined] # what lies ready shows nowhere else
    deadline = time.monotonic() + DEADLINE_SECONDS
    while threads._made.qsize() + len(threads._early) < least and time.monotonic() < deadline:
        threading.Event().wait(0.001)
    return int(threads._made.qsize() + len(threads._early))


def test_as_many_are_made_ahead_as_were_asked_for(work: Work) -> None:
    with FACTORY.open(work, FakeOptions(prefetch=3)) as loader:
        epoch = loader.epoch(0)
        next(epoch)
        assert made_without_asking(loader, 6) == 6, "three for each of two workers"


def test_the_next_epoch_is_begun_ahead(work: Work) -> None:
    with FACTORY.open(work, FakeOptions()) as loader:
        assert ids_of(loader.epoch(0)) == wanted(work, 0)
        before = fakes()
        assert made_without_asking(loader, 4) == 4
        assert ids_of(loader.epoch(1)) == wanted(work, 1)
        assert fakes() == before, "no thread was started anew"


def test_an_epoch_that_was_left_early_is_not_gone_on_with(work: Work) -> None:
    with FACTORY.open(work, FakeOptions()) as loader:
        assert ids_of(islice(loader.epoch(0), 2)) == wanted(work, 0)[:2]
        assert ids_of(loader.epoch(1)) == wanted(work, 1)
        assert ids_of(loader.epoch(0)) == wanted(work, 0)


def test_a_sleeping_loader_ends_at_once(work: Work) -> None:
    begin = time.monotonic()
    with FACTORY.open(work, FakeOptions(batch_seconds=10 * DEADLINE_SECONDS)) as loader:
        waiting = threading.Thread(target=lambda: next(loader.epoch(0), None), daemon=True)
        waiting.start()
        # One that is listed may still start.
        while sum(thread.is_alive() for thread in fakes()) < work.workers:
            threading.Event().wait(0.001)
    assert time.monotonic() - begin < DEADLINE_SECONDS


def test_inline_nothing_is_started(work: Work) -> None:
    with FACTORY.open(work, FakeOptions(inline=True)) as loader:
        next(loader.epoch(0))
        assert fakes() == []


def test_burning_uses_cpu_time_and_lets_others_run() -> None:
    begin = time.thread_time()
    burn(0.02)
    assert time.thread_time() - begin >= 0.02
    others_turn = threading.Thread(target=burn, args=(0.02,))
    others_turn.start()
    others_turn.join(DEADLINE_SECONDS)
    assert not others_turn.is_alive()


def test_the_faults_are_those_that_were_asked_for(work: Work) -> None:
    with FACTORY.open(work, FakeOptions(drop=2, repeat=1)) as loader:
        came = ids_of(loader.epoch(0))
    first = wanted(work, 0)[0]
    assert came == [[*first[2:], first[2]], *wanted(work, 0)[1:]]


@pytest.mark.parametrize("values", [{"prefetch": 0}, {"batch_seconds": -1.0}, {"busy_seconds": -0.1}])
def test_options_that_cannot_work_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="must be"):
        FakeOptions(**values)  # type: ignore[arg-type] # the wrong values are the point


def test_the_sleeping_model_learns_and_does_not_sleep_when_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("throughput.fake.time.sleep", slept.append)
    model = sleep_10ms(5, 3)
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    assert slept == [0.01]
    model.eval()(torch.zeros(2, 3, 8, 8)).sum().backward()
    assert slept == [0.01]
    assert all(parameter.grad is not None for parameter in model.parameters())
