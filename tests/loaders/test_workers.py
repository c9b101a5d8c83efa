"""Worker processes: what they hand over, how they die, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from throughput.contracts import Source, Work
from throughput.errors import LoaderError, OptionError, SampleError
from throughput.loaders.workers import WorkerOptions, end_workers, items, worker_loader
from throughput.sources import open_source
from throughput.testing import write_contract_images


class Items:
    """A map-style dataset: key 3 hands over an error, 4 raises one, 5 ends the worker."""

    def __getitem__(self, key: int) -> Any:
        match key:
            case 3:
                return SampleError("three.jpg", "is damaged")
            case 4:
                raise RuntimeError("something else")
            case 5:
                os.kill(os.getpid(), signal.SIGKILL)
        return key, os.getpid()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("workers") / "images", 2))


@pytest.fixture
def start(source: Source) -> Iterator[Any]:
    """Start workers on a list of keys; they end with the test."""
    started = []

    def run(keys: list[int], **options: Any) -> Any:
        loader = worker_loader(Items(), Work(source, workers=2), WorkerOptions(**options), keys)
        started.append(loader)
        return loader

    yield run
    for loader in started:
        end_workers(loader)


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if pid in {child.pid for child in psutil.Process().children()}}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_items_come_in_order_from_other_processes(start: Any, method: str) -> None:
    came = list(items(iter(start([0, 1, 2, 6, 7], start=method))))
    assert [key for key, _ in came] == [0, 1, 2, 6, 7]
    pids = {pid for _, pid in came}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_workers_go_on_into_the_next_epoch_and_end_when_told(start: Any) -> None:
    loader = start([0, 1, 2])
    first = {pid for _, pid in items(iter(loader))}
    assert {pid for _, pid in items(iter(loader))} == first
    assert alive(first) == first
    end_workers(loader)
    assert alive(first) == set()
    end_workers(loader)


def test_an_error_that_is_handed_over_keeps_its_type_and_its_words(start: Any) -> None:
    running = items(iter(start([0, 3])))
    assert next(running)[0] == 0
    with pytest.raises(SampleError, match=r"three\.jpg: is damaged") as caught:
        next(running)
    assert caught.value.sample == "three.jpg"


@pytest.mark.parametrize(("key", "words"), [(4, "something else"), (5, "exited unexpectedly")])
def test_a_worker_that_fails_is_a_loader_error(start: Any, key: int, words: str) -> None:
    with pytest.raises(LoaderError, match=f"a worker process died.*{words}"):
        list(items(iter(start([0, key]))))


def test_workers_whose_sockets_find_no_place_say_so(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(
        LoaderError, match=r"socket .* in .*longlong.* \(AF_UNIX path too long\): set TMPDIR to a"
    ):
        next(items(iter(start([0]))))


DYING = """
import os, signal
from throughput.contracts import Work
from throughput.loaders.workers import WorkerOptions, worker_loader
from throughput.sources import open_source

if __name__ == "__main__":
    loader = worker_loader(range(9), Work(open_source({folder!r}), workers=2), WorkerOptions(start="spawn"))
    iter(loader)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_whose_parent_died_before_they_had_started(source: Source, tmp_path: Path) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DYING.format(folder=source.location))
    with subprocess.Popen([sys.executable, script], start_new_session=True) as process:
        assert process.wait() == -signal.SIGKILL
    try:
        deadline = time.monotonic() + 60
        while of_group(process.pid):
            assert time.monotonic() < deadline, "they wait for a parent that is gone"
            time.sleep(0.1)
    finally:
        for pid in of_group(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def of_group(group: int) -> list[int]:
    """Those that run: nobody may collect what has ended."""
    found = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.NoSuchProcess):
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


@pytest.mark.parametrize("options", [{"prefetch": 0}, {"prefetch": -1}, {"start": "thread"}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"must be .* got"):
        WorkerOptions(**options)
