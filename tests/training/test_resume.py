"""A run that was stopped goes on as if it had not been, or is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from throughput.contracts import Augmentation, Work
from throughput.errors import OptionError
from throughput.results import EpochRecord, Pass
from throughput.sources import open_source
from throughput.training.checkpoint import read, save
from throughput.training.course import Training
from throughput.training.errors import CheckpointError
from throughput.training.feeding import Feeding
from throughput.training.recipe import Recipe
from throughput.training.trainer import Silence, Trained, train

MakeTraining = Callable[..., Training]


class StopAfter(Silence):
    """Ends training like Ctrl-C, once an epoch's checkpoint is written."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def epoch(self, record: EpochRecord, one: Pass) -> None:  # noqa: ARG002 - a listener's signature
        if record.epoch == self._epoch:
            raise KeyboardInterrupt


class Notes(Silence):
    """What a user is told before the first epoch."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def weights(trained: Trained) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in trained.model.state_dict().values()])


def losses(trained: Trained) -> list[tuple[Any, ...]]:
    return [
        (one.loss, one.learning_rate, one.watched_loss, one.held_out_loss, one.accuracy)
        for one in trained.run.epochs
    ]


@pytest.mark.parametrize("loader", ["torchvision", "webdataset"])
@pytest.mark.parametrize("patience", [None, 2])
def test_a_run_that_was_stopped_goes_on_to_the_bit(
    training: MakeTraining, loader: str, patience: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    recipe = {"schedule": "cosine", "warmup_epochs": 0.5, "averaging": 0.9, "accumulate": 2}
    whole = training(
        3, recipe, loader=loader, patience=patience, checkpoint=tmp_path / "whole.pt", deterministic=True
    )
    straight = train(whole)
    parted = replace(whole, checkpoint=tmp_path / "parted.pt")
    with pytest.raises(KeyboardInterrupt):
        train(parted, StopAfter(0))
    torch.rand(7)  # whatever happens in between
    resumed = train(replace(parted, resume=True))
    assert torch.equal(weights(resumed), weights(straight))
    assert losses(resumed) == losses(straight)
    assert [one.images for one in resumed.phase.passes] == [one.images for one in straight.phase.passes]
    assert resumed.ledger == straight.ledger
    assert (resumed.steps, resumed.images) == (straight.steps, straight.images)
    one, other = read(tmp_path / "whole.pt").run["step"], read(tmp_path / "parted.pt").run["step"]
    for state, twin in zip(
        one["optimizer"]["state"].values(), other["optimizer"]["state"].values(), strict=True
    ):
        assert all(torch.equal(state[name], twin[name]) for name in state)


def test_a_finished_run_is_only_judged_again(training: MakeTraining, tmp_path: Path) -> None:
    chosen = training(1, checkpoint=tmp_path / "some.pt")
    first = train(chosen)
    again = train(replace(chosen, resume=True))
    assert torch.equal(weights(again), weights(first))
    assert len(again.run.epochs) == 1


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")
def test_a_resumed_run_repeats_noise_turns_and_what_was_left_of_an_epoch(
    training: MakeTraining, work: Work, tmp_path: Path
) -> None:
    recipe = {"schedule": "onecycle", "accumulate": 4, "clip_norm": 1.0, "averaging": 0.8}
    augmentation = Augmentation(crop="random", rotation_degrees=20, noise=0.1)
    whole = training(3, recipe, work=replace(work, workers=2, augmentation=augmentation))
    assert -(-len(work.source.ids("train")) // work.batch_size) % 4, "something is left"
    straight = train(whole)
    parted = replace(whole, checkpoint=tmp_path / "parted.pt")
    with pytest.raises(KeyboardInterrupt):
        train(parted, StopAfter(1))
    resumed = train(replace(parted, resume=True))
    assert torch.equal(weights(resumed), weights(straight))
    assert losses(resumed) == losses(straight)


def test_where_no_epoch_was_finished_training_begins_and_says_so(
    training: MakeTraining, tmp_path: Path
) -> None:
    straight = train(training(1))
    notes = Notes()
    chosen = training(1, checkpoint=tmp_path, resume=True)
    begun = train(chosen, notes)
    assert torch.equal(weights(begun), weights(straight))
    path = tmp_path / "checkpoint.pt"
    assert notes.texts == [f"there is no {path} to go on from yet: training begins"]
    again = train(chosen, notes)
    assert torch.equal(weights(again), weights(begun))
    assert len(notes.texts) == 1, "nothing is told where it goes on"


def test_weights_to_begin_with_are_read_only_where_training_begins(
    training: MakeTraining, work: Work, digits: Path, tmp_path: Path
) -> None:
    first, notes = tmp_path / "first.pt", Notes()
    np.save(tmp_path / "fives.npy", np.load(digits / "labels.npy") % 5)
    five = replace(work, source=open_source(digits / "digits.npy", labels=tmp_path / "fives.npy"))
    train(training(1, checkpoint=first))
    chosen = training(1, work=five, weights=first, checkpoint=tmp_path / "five.pt", resume=True)
    train(chosen, notes)
    _, told = notes.texts
    assert told == f"{first} does not fit the last layer (11.weight, 11.bias), which begins untrained"
    train(replace(training(1), weights=first), notes)
    assert len(notes.texts) == 2, "nothing is told where all of it fits"
    first.unlink()
    assert len(train(replace(chosen, epochs=2), notes).run.epochs) == 2
    assert len(notes.texts) == 2


def test_the_first_epoch_after_a_resumption_tells_no_gap(training: MakeTraining, tmp_path: Path) -> None:
    chosen = training(1, checkpoint=tmp_path / "some.pt")
    train(chosen)
    resumed = train(replace(chosen, epochs=2, resume=True))
    assert resumed.phase.epoch_gap_seconds is None, "it waits for the loader to start"
    resumed = train(replace(chosen, epochs=4, resume=True))
    assert resumed.phase.epoch_gap_seconds == resumed.phase.passes[3].batch_wait_seconds[0]


def test_a_checkpoint_is_not_overwritten_unasked(training: MakeTraining, tmp_path: Path) -> None:
    chosen = training(1, checkpoint=tmp_path / "some.pt")
    train(chosen)
    before = (tmp_path / "some.pt").read_bytes()
    with pytest.raises(OptionError, match="go on from it with --resume, or choose another name"):
        train(chosen)
    assert (tmp_path / "some.pt").read_bytes() == before


def test_files_are_checked_before_anything_is_prepared(
    training: MakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.pt"
    train(training(1, checkpoint=path))
    torch.save({}, tmp_path / "empty.pt")

    def prepared(*_: object) -> None:
        raise AssertionError("gigabytes were prepared")

    monkeypatch.setattr(Feeding, "prepare", prepared)
    with pytest.raises(CheckpointError, match="weights of another model"):
        train(training(1, weights=tmp_path / "empty.pt"))
    with pytest.raises(CheckpointError, match=r"recipe\.learning_rate"):
        train(training(2, {"learning_rate": 1.0}, checkpoint=path, resume=True))
    with pytest.raises(OptionError, match="--resume"):
        train(training(2, checkpoint=path))


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        *((name, None) for name in ("course", "step", "records", "passes", "counts", "best_epoch")),
        *((name, [3]) for name in ("course", "step", "records", "passes", "counts")),
        *((name, {}) for name in ("course", "step", "records", "passes")),
    ],
)
def test_a_damaged_run_is_refused(damage: str, left: object, training: MakeTraining, tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    chosen = training(1, checkpoint=path, patience=1)
    if not (kept := tmp_path.parent / "undamaged.pt").exists():
        train(replace(chosen, checkpoint=kept))
    found = read(kept)
    found.run[damage] = left
    save(path, found)
    with pytest.raises(CheckpointError, match=r"some\.pt"):
        train(replace(chosen, epochs=2, resume=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": Recipe(learning_rate=1e-4)}, "recipe.learning_rate 0.002, not 0.0001"),
        ({"loader": "roi"}, "trained with loader 'torchvision', not 'roi'"),
        ({"patience": 3}, "patience None, not 3"),
        ({"model": "cnn32"}, "holds cnn28, not cnn32"),
        ({"options": {"prefetch": 3}}, "trained with options"),
        ({"deterministic": True}, "trained with deterministic False, not True"),
        ({"compile": True}, "trained with compile False, not True"),
    ],
)
def test_other_choices_cannot_go_on(
    changes: dict[str, Any], words: str, training: MakeTraining, tmp_path: Path
) -> None:
    chosen = training(1, checkpoint=tmp_path / "some.pt")
    train(chosen)
    with pytest.raises(CheckpointError, match=words):
        train(replace(chosen, epochs=2, resume=True, **changes))


def test_more_epochs_can_follow_a_constant_rate_and_not_a_cosine(
    training: MakeTraining, tmp_path: Path
) -> None:
    for schedule in ("constant", "cosine"):
        chosen = training(1, {"schedule": schedule}, checkpoint=tmp_path / f"{schedule}.pt")
        train(chosen)
        longer = replace(chosen, epochs=2, resume=True)
        if schedule == "constant":
            assert len(train(longer).run.epochs) == 2
        else:
            with pytest.raises(CheckpointError, match="epochs 1, not 2"):
                train(longer)
