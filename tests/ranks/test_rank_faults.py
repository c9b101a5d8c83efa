"""Bad samples among ranks, and a run that all ranks leave in the middle of an epoch."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starting import Torchrun

from throughput.sources import FolderSource, open_source

ONE_EPOCH = ("--loader=torchvision", "--workers=1", "--device=cpu", "--epochs=1")


def row_of(path: Path) -> dict[str, Any]:
    (row,) = json.loads(path.read_text())["rows"]
    found: dict[str, Any] = row
    return found


def damage(folder: Path) -> tuple[list[str], int]:
    """Cut two images to train on short, and one that is held out; the former, and of how many."""
    source = open_source(folder)
    assert isinstance(source, FolderSource)
    train = source.ids("train")
    for one in (train[0], train[-1], source.ids("val")[0]):
        path = Path(source.path(int(one)))
        path.write_bytes(path.read_bytes()[:60])
    return [source.path(int(one)) for one in (train[0], train[-1])], len(train)


@pytest.mark.parametrize("policy", ["skip", "substitute"])
def test_bad_images_of_any_rank_are_told_and_not_missing(
    torchrun: Torchrun, images: Path, tmp_path: Path, policy: str
) -> None:
    """With one image to a batch, a rank that skips one has a step less than it was to have."""
    data, out = tmp_path / "data", tmp_path / "out.json"
    shutil.copytree(images, data)
    bad, count = damage(data)
    sizes = ("--model=cnn_small", "--size=32", f"--batch={1 if policy == 'skip' else 4}")
    ran = torchrun(
        2, "train", "--data", data, *ONE_EPOCH, *sizes, f"--on-error={policy}", f"--json={out}"
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    row = row_of(out)
    assert len(row["ranks"]) == 2
    (epoch,) = row["ledger"]["epochs"]
    assert (epoch["expected"], epoch["unique"]) == (count, count - 2)
    assert [epoch[name] for name in ("corrupt", "missing", "duplicate", "unexpected")] == [2, 0, 0, 0]
    assert sorted(one["sample"] for one in row["ledger"]["bad_samples"]) == sorted(bad)
    assert all(one["times"] == 1 for one in row["ledger"]["bad_samples"])
    if policy == "substitute":
        assert epoch["padded"] == 2
        assert row["train_images"] == count, "stand-ins are trained on"
    else:
        assert row["train_images"] == count - 2
    assert row["accuracy"] is not None


ENDING = """
import os
import signal

from torch import nn


class Ending(nn.Sequential):
    def __init__(self, outputs, channels):
        super().__init__(nn.Flatten(), nn.Linear(channels * 8 * 8, outputs))
        self.batches = 0

    def forward(self, images):
        if self.training:
            self.batches += 1
            if self.batches == 5 and os.environ["RANK"] == "1" and not os.path.exists("asked"):
                open("asked", "w").close()
                os.kill(os.getppid(), signal.SIGTERM)  # torchrun, which asks all ranks to end
        return super().forward(images)
"""


def test_ranks_that_a_scheduler_ends_go_on_at_the_batch(torchrun: Torchrun, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", draw.integers(0, 255, (4000, 8, 8), np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(4000) % 2)
    (tmp_path / "ending.py").write_text(ENDING)
    data = ("--data=images.npy", "--labels=labels.npy", "--model=ending:Ending", "--size=8", "--batch=2")
    command = ("train", *data, *ONE_EPOCH, "--checkpoint=some.pt", "--resume", "--json=out.json")
    ran = torchrun(2, *command, cwd=tmp_path)
    assert ran.returncode != 0
    told = re.search(r"the same command with --resume goes on behind batch (\d+) of epoch 1\n", ran.stderr)
    assert told is not None, ran.stderr
    assert 5 <= int(told[1]) < 800
    assert ran.stderr.count("interrupted") == 1, ran.stderr
    ran = torchrun(2, *command, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    row = row_of(tmp_path / "out.json")
    count = row["ledger"]["expected"]
    (epoch,) = row["ledger"]["epochs"]
    assert (epoch["unique"], epoch["missing"], epoch["duplicate"]) == (count, 0, 0)
    assert row["train_images"] == count
    assert [one["images"] for one in row["train"]["passes"]] == [count]
