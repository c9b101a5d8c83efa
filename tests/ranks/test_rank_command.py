"""``torchrun -m throughput``: ranks measure and train together, and rank 0 alone tells of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from starting import Torchrun, free_port

from throughput.sources import open_source

ENDS_WITHIN_SECONDS = 30
"""From the death of a rank to the end of all: a requirement."""
DEADLINE_SECONDS = 90
FAKE = "--loader=throughput.testing:FakeLoaderFactory"


def results(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_ranks_load_their_shares_at_once(
    torchrun: Torchrun, images: Path, tmp_path: Path, small: tuple[str, ...]
) -> None:
    """Every id once in all of them, counted over the whole; only rank 0 speaks."""
    out = tmp_path / "out.json"
    options = ("--phases=load", "--loader=torchvision,webdataset", "--json", out, "--batch=4", "--steps=8")
    ran = torchrun(3, "bench", "--data", images, *small, *options)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("32 px, batch 4") == 1, ran.stdout
    assert "for each of 3 ranks" in ran.stdout
    found = results(out)
    train_images = len(open_source(images).ids("train"))
    assert (found["work"]["world_size"], found["work"]["rank"]) == (3, 0)
    for row in found["rows"]:
        assert [one["rank"] for one in row["ranks"]] == [0, 1, 2]
        assert re.search(rf"{row['loader']}: 3 ranks: rank 0 on \S+ [\d,]+ images/s; rank 1", ran.stdout)
        ledger = row["ledger"]
        assert ledger["exact"]
        assert ledger["expected"] == train_images
        whole = [epoch for epoch in ledger["epochs"] if epoch["complete"]]
        assert whole
        assert all((one["unique"], one["missing"]) == (train_images, 0) for one in whole)
        (first, *_) = row["load"]["passes"]
        assert first["images"] > 8 * 4, "of all ranks"
        together = sum(one["images_per_second"] for one in row["ranks"])
        assert row["load"]["images_per_second"]["median"] <= together * 1.5


def test_ranks_that_repeat_each_others_images_are_found_out(
    torchrun: Torchrun, images: Path, tmp_path: Path, small: tuple[str, ...]
) -> None:
    (tmp_path / "greedy.py").write_text(
        "import torch\n"
        "from throughput.loaders.imagefolder import TorchvisionLoaderFactory\n"
        "from dataclasses import replace\n"
        "class Greedy(TorchvisionLoaderFactory):\n"
        "    name = 'greedy'\n"
        "    def open(self, work, options):\n"
        "        return super().open(replace(work, rank=0, world_size=1), options)\n"
    )
    out = tmp_path / "out.json"
    options = ("--phases=load", "--loader=greedy:Greedy", f"--json={out}", "--steps=12")
    ran = torchrun(2, "bench", "--data", images, *small, *options, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (row,) = results(out)["rows"]
    assert not row["ledger"]["exact"]
    assert row["ledger"]["duplicate"] > 0


def test_all_phases_step_together(
    torchrun: Torchrun, images: Path, tmp_path: Path, small: tuple[str, ...]
) -> None:
    out = tmp_path / "out.json"
    by_time = [option for option in small if not option.startswith("--steps")]
    options = (FAKE, "--seconds=0.2", "--json", out, "--batch=4")
    ran = torchrun(2, "bench", "--data", images, *by_time, *options)
    assert ran.returncode == 0, ran.stderr
    (row,) = results(out)["rows"]
    assert row["status"] == "ok"
    assert row["accuracy"] is not None
    assert row["held_out_ledger"]["exact"]
    assert row["verdict"]["suggestions"] == []
    assert all(row[phase]["images_per_second"]["median"] > 0 for phase in ("load", "model", "train"))


def test_training_is_told_once(torchrun: Torchrun, images: Path, tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "out.json", tmp_path / "some.pt"
    options = ("--model=cnn_small", "--size=32", "--batch=4", "--workers=1", "--epochs=2", "--device=cpu")
    ran = torchrun(
        2, "train", "--data", images, *options, "--json", out, "--checkpoint", checkpoint,
        "--loader=torchvision",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("epoch 2 of 2: ") == 1
    (row,) = results(out)["rows"]
    train_images = len(open_source(images).ids("train"))
    assert row["ledger"]["exact"]
    assert [one["images"] for one in row["train"]["passes"]] == [train_images] * 2
    assert len(row["ranks"]) == 2
    assert checkpoint.exists()


def test_other_commands_are_for_one_process(
    here: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    ran = here("list")
    assert ran.returncode == 2
    assert (
        ran.stderr == "throughput: rank 1: `throughput list` is for one process: start it without torchrun\n"
    )


def test_what_several_ranks_cannot_do_is_refused(
    torchrun: Torchrun, images: Path, small: tuple[str, ...]
) -> None:
    ran = torchrun(2, "bench", "--data", images, *small, FAKE, "--cache=cold", "--phases=load")
    assert ran.returncode != 0
    assert "--cache cold is for one process" in ran.stderr


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(torchrun: Torchrun) -> Iterator[Start]:
    """Start torchrun, and end it and all that it started."""
    running: list[subprocess.Popen[str]] = []

    def begin(*command: str) -> subprocess.Popen[str]:
        running.append(
            subprocess.Popen(
                command,
                env=torchrun.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return running[-1]

    yield begin
    for process in running:
        for one in family(process):
            one.kill()
        process.kill()
        process.communicate()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def rank_processes(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Those that torchrun started, in the order of their ranks."""
    try:
        found = psutil.Process(process.pid).children()
        return sorted(
            (one for one in found if "throughput" in one.cmdline()),
            key=lambda one: int(one.environ()["RANK"]),
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied, KeyError):
        return []


def wait_for(happened: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def gone(processes: list[psutil.Process]) -> bool:
    try:
        return not alive(processes)
    except psutil.NoSuchProcess:
        return False


def measures(process: subprocess.Popen[str], ranks: int) -> bool:
    """Whether each rank's measuring process runs: a child of its nursery."""
    processes = rank_processes(process)
    if len(processes) < ranks:
        return False
    try:
        return all(len(one.children(recursive=True)) >= 2 for one in processes)
    except psutil.NoSuchProcess:
        return False


def test_a_rank_that_is_killed_ends_all_in_words(
    start: Start, torchrun: Torchrun, images: Path, small: tuple[str, ...]
) -> None:
    by_time = [option for option in small if not option.startswith("--steps")]
    options = [FAKE, "--seconds=300", "--data", str(images), *by_time]
    process = start(*torchrun.command(2, "--standalone", "bench", *options))
    wait_for(lambda: measures(process, 2), process)
    descendants = family(process)
    os.kill(rank_processes(process)[1].pid, signal.SIGKILL)
    killed = time.monotonic()
    _, told = process.communicate(timeout=ENDS_WITHIN_SECONDS)
    assert time.monotonic() - killed < ENDS_WITHIN_SECONDS
    assert process.returncode != 0
    assert re.search(r"throughput: rank 0: rank 1 on \S+ is gone: killed", told), told
    wait_for(lambda: gone(descendants))


def test_a_rank_that_is_killed_on_another_machine_ends_all(
    start: Start, torchrun: Torchrun, images: Path, tmp_path: Path
) -> None:
    """Two machines, imitated by two torchruns; training, whose processes hold the connections themselves."""
    port = free_port()
    where = ["--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={port}"]
    options = (
        "--model=cnn_small",
        "--size=32",
        "--batch=4",
        "--workers=1",
        "--epochs=100000",
        "--device=cpu",
    )
    training = ("train", "--data", images, *options, f"--checkpoint={tmp_path}/some.pt")
    nodes = [start(*torchrun.command(1, [*where, f"--node-rank={node}"], *training)) for node in (0, 1)]
    wait_for((tmp_path / "some.pt").exists, nodes[0])
    descendants = [one for node in nodes for one in family(node)]
    os.kill(rank_processes(nodes[1])[0].pid, signal.SIGKILL)
    _, told = nodes[0].communicate(timeout=ENDS_WITHIN_SECONDS)
    assert nodes[0].returncode != 0
    assert re.search(r"throughput: rank 0: rank 1 on \S+ is gone: killed", told), told
    wait_for(lambda: gone(descendants))
