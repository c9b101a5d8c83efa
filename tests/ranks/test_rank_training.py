"""Ranks that train together come out as one process does with their batches joined, and all alike."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from starting import run_ranks, try_ranks
from torch import nn

from throughput.choices import choose_work
from throughput.contracts import Augmentation
from throughput.errors import ThroughputError
from throughput.measure.labels import Labels
from throughput.measure.ledger import Ledger
from throughput.ranks.company import in_company
from throughput.ranks.ledgers import LedgerOfAll
from throughput.sources import open_source
from throughput.training.checkpoint import read
from throughput.training.course import Training
from throughput.training.metrics import judge
from throughput.training.recipe import Recipe
from throughput.training.trainer import train

IMAGES, CLASSES = 121, 3
"""97 to train on: among two and among three ranks, some have a batch less than the first."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey 8x8 images, brighter by class."""
    draw = np.random.default_rng(0)
    labels = np.arange(IMAGES) % CLASSES
    images = draw.integers(0, 90, (IMAGES, 8, 8)) + 60 * labels[:, None, None]
    folder = tmp_path_factory.mktemp("bright")
    np.save(folder / "images.npy", images.astype(np.uint8))
    np.save(folder / "labels.npy", labels.astype(np.int64))
    return folder


def fit(
    folder: Path,
    batch: int,
    changes: dict[str, Any],
    recipe: dict[str, Any],
    make: Callable[[], nn.Module] | None = None,
) -> dict[str, Any]:
    """Train in this rank, or alone."""
    with in_company() as company:
        work = choose_work(
            open_source(folder / "images.npy", labels=folder / "labels.npy"),
            batch_size=batch,
            image_size=8,
            workers=1,
            device="cpu",
            precision="fp32",
            augmentation=Augmentation(crop="none", flip=0),
            rank=company.rank,
            world_size=company.size,
        )
        chosen = Recipe(**{"optimiser": "sgd", "learning_rate": 0.05, **recipe})
        training = replace(Training(work, "cnn28", "torchvision", 2, chosen), **changes)
        with company.group("training", "cpu") as group:
            trained = train(training, make=make or plain, company=group)
    assert trained.ledger is not None
    assert trained.predictions is not None
    weights = {name: value.double() for name, value in trained.model.state_dict().items()}
    flat = torch.cat([value.flatten() for value in weights.values()])
    return {
        "weights": flat.numpy(),
        "digest": hashlib.sha256(flat.numpy().tobytes()).hexdigest(),
        "losses": [one.loss for one in trained.run.epochs],
        "accuracies": [one.accuracy for one in trained.run.epochs],
        "metrics": judge(trained.predictions),
        "ledger": trained.ledger,
        "images": [one.images for one in trained.phase.passes],
        "steps": trained.steps,
        "trained": trained.images,
        "ranks": [(one.rank, one.images_per_second > 0) for one in trained.ranks],
    }


def plain() -> nn.Module:
    """Without dropout and batch norm, which each rank would do by itself."""
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, CLASSES))


def normed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, CLASSES))


@pytest.mark.parametrize(
    ("ranks", "recipe"),
    [(2, {}), (3, {"accumulate": 2, "clip_norm": 1.0, "averaging": 0.9, "l1": 1e-3, "schedule": "cosine"})],
)
def test_ranks_train_as_one_process_with_their_batches_joined(
    data: Path, ranks: int, recipe: dict[str, Any]
) -> None:
    told = run_ranks(ranks, fit, data, 24 // ranks, {}, recipe)
    alone = fit(data, 24, {}, recipe)
    assert len({one["digest"] for one in told}) == 1, "all ranks end with the same weights"
    assert np.allclose(told[0]["weights"], alone["weights"], rtol=1e-4, atol=1e-6)
    assert told[0]["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert told[0]["accuracies"] == alone["accuracies"]
    assert told[0]["metrics"].loss == pytest.approx(alone["metrics"].loss, rel=1e-5)
    for one in told:
        assert (one["steps"], one["trained"], one["images"]) == (
            alone["steps"],
            alone["trained"],
            alone["images"],
        )
        assert one["ledger"].exact
        assert [epoch.unique for epoch in one["ledger"].epochs] == alone["images"]
        assert one["ranks"] == [(rank, True) for rank in range(ranks)]


def test_the_end_of_an_epoch_is_padding_that_is_counted(data: Path) -> None:
    (one, _) = run_ranks(2, fit, data, 8, {}, {})
    train_images = one["images"][0]
    shares = [-(-train_images // 2), train_images // 2]
    batches = [-(-share // 8) for share in shares]
    assert one["ledger"].worst.padded == max(batches) * 2 - sum(batches) == 1


def checkpointed(folder: Path, path: Path, epochs: int) -> dict[str, Any]:
    changes = {"checkpoint": path, "resume": True, "epochs": epochs}
    return fit(folder, 8, changes, {})


def test_one_checkpoint_is_written_and_all_go_on_from_it(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    run_ranks(2, checkpointed, data, path, 1)
    assert len(read(path, ("cnn28",)).run["records"]) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["some.pt"]
    told = run_ranks(2, checkpointed, data, path, 2)
    through = run_ranks(2, fit, data, 8, {}, {})
    assert told[0]["digest"] == told[1]["digest"] == through[0]["digest"]


class Stopping(nn.Sequential):
    """Is interrupted when it has trained on so many batches."""

    def __init__(self, batches: int) -> None:
        super().__init__(plain())
        self.left = batches

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        found: torch.Tensor = super().forward(images)
        return found


def kept(folder: Path, path: Path, batches: int) -> dict[str, Any]:
    """Trained until so many batches, and kept behind each."""
    changes = {"checkpoint": path, "checkpoint_seconds": 0.0, "resume": True}
    return fit(folder, 8, changes, {"averaging": 0.9}, partial(Stopping, batches))


@pytest.mark.parametrize("batches", [3, 6])
def test_ranks_go_on_in_the_middle_of_an_epoch_to_the_bit(data: Path, tmp_path: Path, batches: int) -> None:
    """Behind the sixth batch of 97 images in two shares, only one rank has an image left."""
    path = tmp_path / "some.pt"
    assert all("KeyboardInterrupt" in error for _, error in try_ranks(2, kept, data, path, batches))
    parts = read(path, ("cnn28",)).run["part"]
    assert [part["batches"] for part in parts] == [batches] * 2
    resumed = run_ranks(2, kept, data, path, 99)
    straight = run_ranks(2, kept, data, tmp_path / "other.pt", 99)
    for name in ("digest", "losses", "accuracies", "images", "steps", "trained"):
        assert [one[name] for one in resumed] == [one[name] for one in straight], name
    assert resumed[0]["ledger"] == straight[0]["ledger"]
    assert resumed[0]["ledger"].exact


def own_checkpoint(folder: Path, path: Path) -> None:
    fit(folder, 8, {"checkpoint": path / f"{os.environ['RANK']}.pt", "resume": True}, {})


def test_a_checkpoint_that_only_one_rank_finds_is_refused(data: Path, tmp_path: Path) -> None:
    run_ranks(2, checkpointed, data, tmp_path / "0.pt", 1)
    told = try_ranks(2, own_checkpoint, data, tmp_path)
    assert all("not all ranks find the same checkpoint" in error for _, error in told)


def test_batch_norms_running_figures_are_the_same_in_all_ranks(data: Path) -> None:
    assert len({one["digest"] for one in run_ranks(2, fit, data, 8, {}, {}, normed)}) == 1


def count(repeat: bool) -> Any:
    """Both ranks see an epoch of 10; the second leaves one out, or takes one of the first's."""
    with in_company() as company, company.group("counting", "cpu") as group:
        ledger = Ledger(np.arange(10), Labels(np.zeros(10, np.int64)), keeps_seen=True)
        whole = LedgerOfAll(ledger, group)
        told = []
        for epoch in range(2):
            ledger.begin(epoch)
            own = np.arange(company.rank, 10, 2)
            if company.rank == 1 and epoch == 1:
                own = np.array([1, 3, 5, 7, 0]) if repeat else own[:-1]
            ledger.add(own)
            ledger.end()
            told.append(whole.count())
        return told[-1]


@pytest.mark.parametrize(("repeat", "faults"), [(False, (1, 0)), (True, (1, 1))])
def test_the_ledger_of_all_finds_what_no_rank_can_see(repeat: bool, faults: tuple[int, int]) -> None:
    first, second = run_ranks(2, count, repeat)
    assert first == second
    assert first.epochs[0].exact
    assert (first.epochs[1].missing, first.epochs[1].duplicate) == faults


def awaited(path: Path, seconds: float) -> None:
    """Wait for a file, for so long at most."""
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def speaks_at_last(folder: Path, store_port: int) -> list[list[int]]:
    """Rank 0 speaks once rank 1 has had the time to take what was said before for its answer."""
    os.environ |= {"MASTER_PORT": str(store_port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    told = []
    for meeting in range(2):
        with in_company() as company:
            speaks, answered = folder / f"{meeting} speaks", folder / f"{meeting} answered"
            if company.rank == 0:
                awaited(speaks, 60)
                awaited(answered, 0.5)
            else:
                speaks.touch()
            told.append(company.everyone(10 * meeting + company.rank))
            answered.touch()
    return told


def test_ranks_are_answered_by_what_the_others_say_and_not_by_what_they_said_before(tmp_path: Path) -> None:
    # As torchrun's, which goes on from one meeting to the next.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    assert run_ranks(2, speaks_at_last, tmp_path, store.port) == [[[0, 1], [10, 11]]] * 2


def fails_in_one() -> None:
    with in_company() as company:
        company.meet()
        if company.rank == 1:
            raise ThroughputError("this one cannot go on")
        company.everyone("never answered")


def test_an_error_in_one_rank_ends_the_others_in_words() -> None:
    (_, first), (_, second) = try_ranks(2, fails_in_one)
    assert second.endswith("this one cannot go on\n")
    assert "RankLostError: rank 1 on " in first
    assert first.endswith("has ended: this one cannot go on\n")
