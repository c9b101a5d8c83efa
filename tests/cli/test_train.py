"""The commands of training, as a user calls them: one after the other, on scikit-learn's digits."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess[str]]

SEEN, OTHERS = 300, 100


@pytest.fixture(scope="module", autouse=True)
def _one_core() -> Iterator[None]:
    """For the commands: small layers on several threads wait for each other on a busy machine."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays of digits, and what the commands write."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("train")
    found = load_digits()
    images = np.rint(found.images[:SEEN] * (255 / 16)).astype(np.uint8)
    np.save(folder / "digits.npy", images)
    np.save(folder / "labels.npy", found.target[:SEEN])
    np.save(folder / "fives.npy", found.target[:SEEN] % 5)
    others = slice(SEEN, SEEN + OTHERS)
    np.save(folder / "others.npy", np.rint(found.images[others] * (255 / 16)).astype(np.uint8))
    np.save(folder / "other_labels.npy", found.target[others])
    Image.fromarray(images[0]).save(folder / "zero.png")
    return folder


@pytest.fixture(scope="module")
def data() -> tuple[str, ...]:
    return ("--data=digits.npy", "--labels=labels.npy")


@pytest.fixture(scope="module")
def chosen(data: tuple[str, ...]) -> tuple[str, ...]:
    return (
        *data, "--size=16", "--crop=none", "--flip=0", "--model=cnn_small", "--batch=32", "--workers=1",
        "--device=cpu", "--precision=fp32", "--lr=0.005",
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(throughput: Run, folder: Path, chosen: tuple[str, ...]) -> tuple[dict[str, Any], str, str]:
    """The results, what was printed, and what was told meanwhile."""
    ran = throughput("train", *chosen, "--epochs=6", "--checkpoint=a.pt", "--json=a.json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return json.loads((folder / "a.json").read_text()), ran.stdout, ran.stderr


def test_results_are_a_row_as_the_bench_writes_it(trained: tuple[dict[str, Any], str, str]) -> None:
    results, _, _ = trained
    assert results["schema"] == 1
    (row,) = results["rows"]
    held_out = results["work"]["val_images"]
    assert [one["images"] for one in row["train"]["passes"]] == [results["work"]["train_images"]] * 6
    assert all(one["seconds"] > one["wait_seconds"] >= 0 for one in row["train"]["passes"])
    assert row["ledger"]["exact"]
    assert row["accuracy"] > 0.7
    evaluation = row["evaluation"]
    assert row["accuracy"] == evaluation["top1"] == row["training"]["epochs"][-1]["accuracy"]
    confusion = np.array(evaluation["confusion"])
    assert confusion.sum() == evaluation["images"] == held_out
    assert np.trace(confusion) == pytest.approx(row["accuracy"] * held_out)
    assert [one["name"] for one in evaluation["classes"]] == [str(digit) for digit in range(10)]
    assert row["training"]["recipe"]["learning_rate"] == 0.005
    assert row["cpu_utilisation"] is not None


def test_epochs_are_told_on_stderr_and_tables_on_stdout(trained: tuple[dict[str, Any], str, str]) -> None:
    _, stdout, stderr = trained
    assert [line[:12] for line in stderr.splitlines()] == [
        f"epoch {epoch} of 6"[:12] for epoch in range(1, 7)
    ]
    assert "images/s" in stderr
    assert "waiting" in stderr
    for words in ("top-1", "precision", "recall", "confusion", "a.pt", "cnn_small after epoch 6"):
        assert words in stdout, words
    assert "epoch 1 of 6" not in stdout


def test_images_come_in_the_model_s_own_size(throughput: Run, folder: Path, data: tuple[str, ...]) -> None:
    options = ("--model=cnn28", "--epochs=1", "--batch=32", "--workers=1", "--device=cpu", "--json=own.json")
    ran = throughput("train", *data, *options, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((folder / "own.json").read_text())["work"]["image_size"] == 28


def test_a_finished_run_can_be_judged_again_and_not_prolonged(
    trained: tuple[dict[str, Any], str, str], throughput: Run, folder: Path, chosen: tuple[str, ...]
) -> None:
    results, _, _ = trained
    again = throughput(
        "train", *chosen, "--epochs=6", "--checkpoint=a.pt", "--resume", "--json=b.json", cwd=folder
    )
    assert again.returncode == 0, again.stderr
    row = json.loads((folder / "b.json").read_text())["rows"][0]
    assert row["evaluation"]["confusion"] == results["rows"][0]["evaluation"]["confusion"]
    refused = throughput("train", *chosen, "--epochs=7", "--checkpoint=a.pt", "--resume", cwd=folder)
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "throughput: a.pt was trained with epochs 6, not 7: go on with the same options and data, "
        "or start anew with another --checkpoint and without --resume"
    ]


def test_models_are_judged_alone_and_together(
    trained: tuple[dict[str, Any], str, str], throughput: Run, folder: Path, data: tuple[str, ...]
) -> None:
    results, _, _ = trained
    ran = throughput(
        "evaluate", "--checkpoint=a.pt", "--checkpoint=a.pt", *data, "--precision=fp32", "--json=e.json",
        cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = json.loads((folder / "e.json").read_text())["rows"]
    assert [row["evaluation"]["subject"] for row in rows] == ["a.pt", "a.pt", "ensemble of 2"]
    assert {row["accuracy"] for row in rows} == {results["rows"][0]["accuracy"]}
    assert "ensemble of 2" in ran.stdout


@pytest.mark.usefixtures("trained")
def test_an_image_is_told_with_its_likeliest_classes(throughput: Run, folder: Path) -> None:
    ran = throughput("predict", "zero.png", "zero.png", "--checkpoint=a.pt", "--top=2", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.splitlines()
    assert first == second
    assert first.startswith("zero.png: 0 ")
    assert first.count("%") == 2


@pytest.mark.usefixtures("trained")
def test_features_are_written_for_every_image(throughput: Run, folder: Path, data: tuple[str, ...]) -> None:
    ran = throughput("features", "f.npy", "--checkpoint=a.pt", *data, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    found = np.load(folder / "f.npy")
    assert found.shape == (SEEN, 192)
    assert found.dtype == np.float32


@pytest.mark.usefixtures("trained")
def test_a_pruned_model_is_written_and_compared(throughput: Run, folder: Path, data: tuple[str, ...]) -> None:
    (folder / "pruned").mkdir()
    ran = throughput(
        "prune", "a.pt", "pruned", "--sparsity=0.5", "--epochs=1", *data, "--precision=fp32", "--json=p.json",
        cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    stages = json.loads((folder / "p.json").read_text())["stages"]
    assert [stage["name"] for stage in stages] == ["as it was", "50 % pruned", "1 epoch later"]
    assert stages[2]["nonzero"] < 0.55 * stages[2]["parameters"]
    assert "the speed is the same" in ran.stdout
    assert [file.name for file in (folder / "pruned").iterdir()] == ["checkpoint.pt"]
    again = throughput("evaluate", "--checkpoint=pruned", *data, cwd=folder)
    assert again.returncode == 0, again.stderr


def test_features_of_a_model_by_its_name_are_of_chosen_images(
    throughput: Run, folder: Path, data: tuple[str, ...]
) -> None:
    model = ("--model=cnn_small", "--size=16", "--channels=3")
    for name, more in (("one", ()), ("two", ("--mean=0.9", "--std=0.5", "--crop=none"))):
        ran = throughput("features", f"{name}.npy", *model, *more, *data, cwd=folder)
        assert ran.returncode == 0, ran.stderr
    one, two = (np.load(folder / f"{name}.npy") for name in ("one", "two"))
    assert one.shape == two.shape == (SEEN, 192)
    assert not np.allclose(one, two)


@pytest.mark.usefixtures("trained")
def test_a_test_set_of_its_own_is_judged_whole(throughput: Run, folder: Path) -> None:
    ran = throughput(
        "evaluate", "--checkpoint=a.pt", "--all", "--data=others.npy", "--labels=other_labels.npy",
        "--json=o.json", cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    results = json.loads((folder / "o.json").read_text())
    assert results["rows"][0]["evaluation"]["images"] == OTHERS
    assert (results["work"]["train_images"], results["work"]["val_images"]) == (0, OTHERS)


@pytest.mark.usefixtures("trained")
def test_what_weights_leave_untrained_is_told(
    throughput: Run, folder: Path, data: tuple[str, ...], chosen: tuple[str, ...]
) -> None:
    begun = ("--weights=a.pt", "--labels=fives.npy", "--model=cnn_small")
    for arguments in (("train", *chosen, "--epochs=1"), ("features", "g.npy", *data, "--size=16")):
        ran = throughput(*arguments, *begun, cwd=folder)
        assert ran.returncode == 0, ran.stderr
        first = ran.stderr.splitlines()[0]
        assert first.startswith("throughput: a.pt does not fit the last layer (")
        assert first.endswith("which begins untrained")


STOPPING = """
import os

from torch import nn


class Stopping(nn.Sequential):
    def __init__(self, outputs, channels):
        super().__init__(nn.Flatten(), nn.Linear(channels * 16 * 16, outputs))
        self.batches = 0

    def forward(self, images):
        if self.training:
            self.batches += 1
            if self.batches > int(os.environ["BATCHES"]):
                raise KeyboardInterrupt
        return super().forward(images)
"""


def test_an_interrupted_run_says_how_it_goes_on_and_so_it_does(
    throughput: Run, folder: Path, chosen: tuple[str, ...], surroundings: dict[str, str]
) -> None:
    (folder / "stopping.py").write_text(STOPPING)
    command = ("train", *chosen, "--model=stopping:Stopping", "--epochs=2", "--checkpoint=s.pt")

    def run(batches: int, *more: str) -> tuple[int, list[str]]:
        ran = throughput(*command, *more, cwd=folder, env=surroundings | {"BATCHES": str(batches)})
        return ran.returncode, ran.stderr.splitlines()

    code, (told,) = run(0)
    assert code == 130
    assert told == "throughput: interrupted; nothing was kept yet: the same command begins anew"
    code, (begun, first, told) = run(9, "--resume")
    assert code == 130
    assert begun == "throughput: there is no s.pt to go on from yet: training begins"
    assert first.startswith("epoch 1 of 2: ")
    assert told == (
        "throughput: interrupted; the same command with --resume goes on from the last checkpoint"
    )
    code, (second,) = run(99, "--resume")
    assert code == 0
    assert second.startswith("epoch 2 of 2: ")


ASKING = """
import multiprocessing
import os
import subprocess

from stopping import Stopping


class Asking(Stopping):
    def forward(self, images):
        if self.training and self.batches == int(os.environ["ASKS_AT"]):
            workers = [worker.pid for worker in multiprocessing.active_children()]
            assert workers
            # To the workers as well, and from elsewhere, as a scheduler does: torch looks who asks.
            kill = ["kill", "-TERM", "--", f"-{os.getpgrp()}"]
            subprocess.run(kill, check=True, start_new_session=True)
            for pid in workers:  # they end first, and torch hears of it in the midst of this step
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return super().forward(images)
"""


def test_a_run_that_a_scheduler_ends_goes_on_at_the_batch(
    throughput: Run,
    folder: Path,
    chosen: tuple[str, ...],
    surroundings: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    (folder / "stopping.py").write_text(STOPPING)
    (folder / "asking.py").write_text(ASKING)
    temporary = tmp_path_factory.mktemp("inner")
    command = ("train", *chosen, "--model=asking:Asking", "--epochs=1", "--checkpoint=k.pt", "--resume")

    def run(asks_at: int, *more: str) -> subprocess.CompletedProcess[str]:
        variables = surroundings | {"BATCHES": "99", "ASKS_AT": str(asks_at), "TMPDIR": str(temporary)}
        return throughput(*command, *more, cwd=folder, env=variables, start_new_session=True)

    ran = run(2)
    assert ran.returncode == 130, ran.stderr
    _, told = ran.stderr.splitlines()
    assert told == "throughput: interrupted; the same command with --resume goes on behind batch 3 of epoch 1"
    assert list(temporary.iterdir()) == []
    ran = run(99, "--workers=2", "--json=k.json")
    assert ran.returncode == 0, ran.stderr
    noted, *_, epoch = ran.stderr.splitlines()  # between them torch says that these are too many workers here
    assert noted.startswith("throughput: k.pt was trained with 1 workers, and goes on with 2: ")
    assert epoch.startswith("epoch 1 of 1: ")
    ledger = json.loads((folder / "k.json").read_text())["rows"][0]["ledger"]
    assert ledger["unique"] == ledger["expected"]
    assert (ledger["missing"], ledger["duplicate"]) == (0, 0)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--epochs=6", "--checkpoint=a.pt"), "go on from it with --resume"),
        (("features", "f.npy", "--checkpoint=a.pt", "--size=224"), "--size belongs to --model"),
        (("features", "f.npy", "--checkpoint=a.pt", "--mean=0.5"), "--mean belongs to --model"),
        (("features", "f.npy", "--model=cnn_small", "--std=big"), "--std: 'big' is no number"),
        (("features", "f.npy"), "give either --checkpoint"),
        (("features", "f.npy", "--checkpoint=a.pt", "--model=cnn28"), "a.pt holds cnn_small, not cnn28"),
        (
            ("evaluate", "--checkpoint=a.pt", "--all"),
            "a.pt was trained on images of digits.npy",
        ),
        (("evaluate", "--checkpoint=a.pt", "--all", "--split-fraction=0.5"), "--all judges by every one"),
        (("evaluate", "--checkpoint=a.pt", "--split-fraction=0.5"), "another split of digits.npy"),
        (("prune", "a.pt", "b.pt", "--sparsity=0.5", "--split-fraction=0.5"), "another split of"),
    ],
)
def test_what_does_not_go_with_a_checkpoint_is_refused(
    arguments: tuple[str, ...],
    words: str,
    here: Run,
    folder: Path,
    data: tuple[str, ...],
    chosen: tuple[str, ...],
) -> None:
    options = chosen if arguments[0] == "train" else data
    ran = here(arguments[0], *options, *arguments[1:], cwd=folder)
    assert ran.returncode == 2, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--momentum=0.8"), "--momentum belongs to --optimizer sgd and nesterov"),
        (("train", "--step-epochs=3"), "--step-epochs belongs to --schedule step"),
        (("train", "--step-factor=0.5", "--schedule=constant"), "--step-factor belongs to --schedule step"),
        (("train", "--warmup=2"), "--warmup 2 is longer than --epochs 1"),
        (("train", "--lr=1e30", "--optimizer=sgd"), "the loss became"),
        (("train", "--schedule=linear"), "--schedule must be one of"),
        (("train", "--checkpoint=no/such/file.pt"), "there is no folder"),
        (("train", "--checkpoint-every=5m"), "--checkpoint-every belongs to --checkpoint"),
        (("train", "--checkpoint=n.pt", "--checkpoint-every=often"), "must be a length of time such as 60s"),
        (("train", "--weights=labels.npy"), "labels.npy"),
        (("predict", "zero.png", "--checkpoint=labels.npy"), "labels.npy"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    arguments: tuple[str, ...], words: str, here: Run, folder: Path, chosen: tuple[str, ...]
) -> None:
    options = (*chosen, "--epochs=1") if arguments[0] == "train" else ()
    ran = here(arguments[0], *options, *arguments[1:], cwd=folder)
    assert ran.returncode == 2
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("throughput: ")
    assert words in line
