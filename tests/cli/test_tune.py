"""``throughput tune`` finds what is truly faster, says so, and refuses what it cannot change in one line."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from functools import partial
from typing import Any

import pytest

FAKE = "throughput.testing:FakeLoaderFactory"
SMALL = ("--size=32", "--batch=8", "--device=cpu")

OWN = """
from torch.utils.data import DataLoader, TensorDataset
import torch

def plain():
    return DataLoader(TensorDataset(torch.zeros(16, 3, 32, 32), torch.zeros(16, dtype=torch.int64)), 8)
"""

LOADERS = """
import os
from throughput.testing import FakeLoaderFactory

class Recording(FakeLoaderFactory):
    def open(self, work, options):
        with open(os.environ["RECORD"], "a") as file:
            file.write("+")
        return super().open(work, options)

class Broken(FakeLoaderFactory):
    def open(self, work, options):
        raise ValueError("no workers today")
"""


@pytest.fixture(scope="module")
def tuned(throughput, images, tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Each worker sleeps for each batch: four of them are four times as fast as one, by the clock."""
    path = tmp_path_factory.mktemp("tuned") / "tuned.json"
    ran = throughput(
        "tune", "--loader", FAKE, "--data", images, *SMALL, "--workers=1,4", "--budget=50s",
        "--opt", f"{FAKE}.batch_seconds=0.05", "--json", path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran, json.loads(path.read_text())


def test_more_workers_are_chosen_where_they_are_faster(tuned):
    ran, told = tuned
    assert told["chosen"]["workers"] == 4
    assert told["finished"]
    assert "chosen: workers 4, batch 8: without a doubt: the next (workers 1, batch 8)" in ran.stdout


def test_the_last_line_is_the_command_to_use(tuned, images):
    ran, told = tuned
    last = ran.stdout.splitlines()[-1]
    assert (
        last
        == told["command_to_use"]
        == (
            f"throughput bench --loader {FAKE} --data {images} --batch 8 --workers 4 --size 32 --device cpu "
            f"--opt {FAKE}.batch_seconds=0.05"
        )
    )


def test_the_curve_has_each_configuration_and_its_passes(tuned):
    ran, told = tuned
    by_workers = {one["workers"]: one for one in told["configurations"]}
    assert set(by_workers) == {1, 4}
    for one in by_workers.values():
        assert one["batch_size"] == 8
        assert one["images_per_second"]["median"] > 0
        assert one["peak_rss_bytes"] > 0
        assert all(each["images"] > 0 for each in one["passes"])
    rates = {workers: one["images_per_second"]["median"] for workers, one in by_workers.items()}
    assert rates[4] > rates[1]
    assert sum("CHOSEN" in line for line in ran.stdout.splitlines()) == 1


def test_the_json_says_what_was_searched_and_what_it_took(tuned):
    told = tuned[1]
    assert told["schema"] == 1
    assert (told["loader"], told["phase"], told["searched"]) == (FAKE, "load", ["workers"])
    assert told["budget_seconds"] == 50
    assert told["spent_seconds"] > 0
    assert told["preparation_seconds"] > 0
    assert told["grid"] is None
    assert told["untried"] == 0
    assert {"created", "command", "environment", "work"} <= set(told)
    assert told["work"]["image_size"] == 32
    assert not {"workers", "batch_size", "budget"} & set(told["work"])


def test_what_was_chosen_is_certified(tuned):
    ran, told = tuned
    assert told["certificate"]["comparable"] is False, "its images are black"
    assert told["certificate_seconds"] > 0
    assert f"{FAKE}: NOT COMPARABLE: " in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--loader", "torchvision,dali"], "one loader is tuned at a time, got torchvision, dali"),
        (["--loader", "replay"], "replay repeats a few batches: there is nothing to tune"),
        (
            ["--loader", "pipelines_to_tune:plain"],
            "is called without the work, so nobody can change its workers",
        ),
        (["--loader", "torchvision", "--budget", "soon"], "--budget must be a length of time"),
        (["--loader", "torchvision", "--phase", "model"], "--phase must be load or train, got 'model'"),
        (["--loader", "torchvision", "--workers", "two"], "--workers: 'two' is no whole number"),
        (["--loader", "torchvision", "--workers", "0"], "workers (--workers) must be a whole number of 1"),
        (["--loader", "torchvision", "--batch", "8,9999"], "--batch 9999 is larger than the train split"),
        (["--loader", "torchvision", "--opt", "dali.prefetch=1"], "no loader 'dali' runs here"),
        (["--loader", "torchvision", "--opt", "torchvision.prefetch=0"], "prefetch must be 1 or more"),
        (["--loader", "torchvision", "--json", "no/where.json"], "there is no folder"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(here, images, tmp_path, arguments, said):
    (tmp_path / "pipelines_to_tune.py").write_text(OWN)
    ran = here("tune", "--data", images, "--device=cpu", *arguments, cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_where_everything_fails_the_reasons_are_told(here, images, tmp_path):
    (tmp_path / "loaders_to_tune.py").write_text(LOADERS)
    ran = here(
        "tune", "--loader", "loaders_to_tune:Broken", "--data", images, *SMALL, "--workers=1,2", cwd=tmp_path
    )
    assert ran.returncode == 3
    assert "every configuration that was tried failed: ValueError: no workers today" in ran.stderr
    assert [line for line in ran.stdout.splitlines() if "no workers today" in line]
    assert "nothing is chosen" in ran.stdout


def test_interrupted_it_tells_what_is_known(script, surroundings, images, tmp_path):
    (tmp_path / "loaders_to_tune.py").write_text(LOADERS)
    record, path = tmp_path / "record", tmp_path / "known.json"
    record.touch()
    process = subprocess.Popen(
        [script, "tune", "--loader", "loaders_to_tune:Recording", "--data", str(images), *SMALL,
         "--workers=1,2", "--budget=5m", "--json", str(path)],
        env=surroundings | {"RECORD": str(record)}, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell starts what it puts in the background with interruption ignored, and tests inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )  # fmt: skip
    try:
        # The block that does not count, the first that does, and one that is under way.
        while len(record.read_text()) < 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "so far (the search was not finished)" in out
    told = json.loads(path.read_text())
    assert not told["finished"]
    assert told["chosen"]["workers"] in (1, 2)
    assert [len(one["passes"]) for one in told["configurations"]] == [1]
