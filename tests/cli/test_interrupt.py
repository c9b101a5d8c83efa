"""Interrupted at any moment, a command ends soon, keeps what was finished and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from throughput.sources import open_source

ENDS_WITHIN_SECONDS = 2.0
"""From the signal to the end of the command: a requirement."""
DEADLINE_SECONDS = 90
"""For what must happen at some time: it is waited for, and this is never reached."""

Start = Callable[..., subprocess.Popen[str]]


def wait_for(happened: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Return once it has happened; fail where the process ends before, or nothing happens."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def measuring(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that measure, their nursery left out: the task's own, and its workers."""
    found: list[psutil.Process] = []
    try:
        for child in psutil.Process(process.pid).children():
            if "throughput.measure.nursery" in child.cmdline():
                found += child.children(recursive=True)
    except psutil.NoSuchProcess:
        pass
    return found


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def gone(processes: list[psutil.Process]) -> bool:
    try:
        return not alive(processes)
    except psutil.NoSuchProcess:
        return False  # between the two questions: ask again


@pytest.fixture
def start(script, surroundings, tmp_path) -> Iterator[Start]:
    """Start a command in the test's folder; whatever is left of it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [script, *map(str, arguments)],
            cwd=tmp_path,
            env=surroundings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts what it puts in the background with interruption ignored, and tests inherit that.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
        )
        started.append(process)
        return process

    yield run
    for process in started:
        for left in measuring(process):
            left.kill()
        process.kill()
        process.communicate()


@pytest.fixture
def shared_memory() -> Iterator[None]:
    """No file is left in shared memory."""
    folder = Path("/dev/shm")
    before = set(folder.iterdir()) if folder.is_dir() else set()
    yield
    if folder.is_dir():
        # Others use it as well: a file that is ours would stay.
        wait_for(lambda: set(folder.iterdir()) <= before)


def end(process: subprocess.Popen[str], signal_number: int) -> tuple[str, str]:
    """Send the signal, and return what was printed: in time, and with the exit status of an interruption."""
    begin = time.monotonic()
    process.send_signal(signal_number)
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    seconds = time.monotonic() - begin
    assert process.returncode == 130, err
    assert "Traceback" not in err
    print(f"ended after {seconds:.2f} s")
    assert seconds < ENDS_WITHIN_SECONDS
    return out, err


WAITS = """
import time
from pathlib import Path

def make_loader():
    Path("begun").touch()
    time.sleep(600)
"""


@pytest.mark.usefixtures("shared_memory")
def test_finished_rows_are_kept(start, small, images, tmp_path):
    """With this seed torchvision comes first; the other tells that its turn has come, and sleeps."""
    (tmp_path / "waits.py").write_text(WAITS)
    process = start(
        "bench", "--data", images, *small, "--phases=load", "--loader=torchvision,waits:make_loader",
        "--seed=1", "--json=out.json",
    )  # fmt: skip
    wait_for((tmp_path / "begun").exists, process)
    running = measuring(process)
    out, err = end(process, signal.SIGINT)
    wait_for(lambda: gone(running))
    assert re.search(r"│ torchvision +│ cpu ", out)
    assert "waits" not in out
    assert err.splitlines()[-1] == "throughput: interrupted"
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert (row["loader"], row["status"]) == ("torchvision", "ok")


@pytest.mark.usefixtures("shared_memory")
@pytest.mark.parametrize(
    ("loader", "signal_number"),
    [("torchvision", signal.SIGTERM), ("dali", signal.SIGINT)],
)
def test_nothing_is_left_of_a_loader_that_runs(start, small, images, tmp_path, loader, signal_number):
    chosen = ("--steps=100000000", "--phases=load", f"--loader={loader}", "--json=out.json")
    process = start("bench", "--data", images, *small, *chosen)
    # DALI's workers are threads.
    wait_for(lambda: len(measuring(process)) > 2 or (loader == "dali" and maps_dali(process)), process)
    running = measuring(process)
    out, err = end(process, signal_number)
    wait_for(lambda: gone(running))
    assert out == ""
    assert err.splitlines()[-1] == "throughput: interrupted"
    assert list(tmp_path.iterdir()) == []


def maps_dali(process: subprocess.Popen[str]) -> bool:
    """Whether the measuring process has loaded DALI's decoders."""
    try:
        return any("libdali" in region.path for one in measuring(process) for region in one.memory_maps())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("shared_memory")
def test_the_measuring_process_ends_with_a_parent_that_is_killed(start, small, images):
    process = start(
        "bench", "--data", images, *small, "--steps=100000000", "--phases=load", "--loader=torchvision"
    )
    wait_for(lambda: len(measuring(process)) > 2, process)
    running = measuring(process)
    process.kill()
    wait_for(lambda: gone(running))


def test_photos_are_made_whole_or_not_at_all(start, tmp_path):
    process = start("synth", "photos", "--count=5000")
    wait_for(lambda: len(list(tmp_path.rglob("*.jpg"))) > 20, process)
    out, _ = end(process, signal.SIGINT)
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_packing_goes_on_where_it_was_stopped(start, throughput, images, tmp_path):
    photo = next(images.rglob("*.JPEG"))
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(500):
            os.link(photo, tmp_path / "data" / name / f"{number:04d}.jpg")
    out = tmp_path / "out"
    pack = ("pack", "data", "out", "--samples-per-shard=4")
    process = start(*pack)
    wait_for(lambda: len(list(out.glob("*.tar"))) > 5, process)
    end(process, signal.SIGTERM)
    kept = {path: path.stat().st_ino for path in out.glob("*.tar")}
    assert 5 < len(kept) < 250
    assert not list(tmp_path.rglob("*.part"))
    again = throughput(*pack, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    rewritten = [path for path, inode in kept.items() if path.stat().st_ino != inode]
    assert len(rewritten) <= 1, "only the last one may have had its name but no record yet"
    assert len(list(out.glob("*.tar"))) == 250
    assert len(open_source(out).labels) == 1000
