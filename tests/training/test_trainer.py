"""From arrays to a judged model: stopped and resumed, watched, and never fooled by what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from throughput.contracts import Work
from throughput.errors import OptionError
from throughput.results import EpochRecord, Pass
from throughput.sources import open_source
from throughput.trained import Classification, Regression
from throughput.training.checkpoint import read, save
from throughput.training.course import Training
from throughput.training.early_stopping import Watch, with_watched
from throughput.training.epoch import Moment
from throughput.training.errors import CheckpointError, DivergedError
from throughput.training.metrics import judge
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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": Recipe(learning_rate=1e-4)}, "recipe.learning_rate 0.002, not 0.0001"),
        ({"loader": "roi"}, "trained with loader 'torchvision', not 'roi'"),
        ({"patience": 3}, "patience None, not 3"),
        ({"model": "cnn32"}, "holds cnn28, not cnn32"),
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


def test_digits_are_learnt_and_judged_on_those_held_out(training: MakeTraining, work: Work) -> None:
    trained = train(training(8, {"schedule": "cosine"}))
    assert trained.predictions is not None
    assert trained.predictions.ids.tolist() == work.source.ids("val").tolist()
    metrics = judge(trained.predictions)
    assert isinstance(metrics, Classification)
    assert metrics.top1 > 0.8
    assert metrics.top1 == trained.run.epochs[-1].accuracy
    assert trained.ledger is not None
    assert trained.ledger.exact
    assert [one.images for one in trained.phase.passes] == [len(work.source.ids("train"))] * 8


def test_the_same_seed_repeats_and_another_does_not(training: MakeTraining, work: Work) -> None:
    first = train(training(1))
    assert torch.equal(weights(train(training(1))), weights(first))
    assert not torch.equal(weights(train(training(1, work=replace(work, seed=1)))), weights(first))


def test_the_target_ends_training_and_its_time_is_told(training: MakeTraining) -> None:
    trained = train(training(9, target_accuracy=0.15))
    count = len(trained.run.epochs)
    assert count < 9
    assert trained.run.stopped == "the target accuracy was reached"
    assert trained.run.target_seconds == pytest.approx(sum(one.seconds for one in trained.run.epochs))
    assert all((one.accuracy or 0) < 0.15 for one in trained.run.epochs[:-1])


def test_a_target_that_is_not_reached_has_no_time(training: MakeTraining) -> None:
    assert train(training(1, target_accuracy=1.0)).run.target_seconds is None


def test_watched_images_are_of_the_train_split_and_of_every_class(work: Work) -> None:
    source = work.source
    parted = with_watched(source)
    train_ids, watched = parted.ids("train"), parted.ids("val")
    assert sorted([*train_ids, *watched]) == source.ids("train").tolist()
    assert not set(watched) & set(source.ids("val"))
    assert set(source.labels[watched]) == set(source.labels)
    assert len(watched) == pytest.approx(0.1 * len(source.ids("train")), rel=0.5)
    assert with_watched(source).ids("val").tolist() == watched.tolist()


def test_early_stopping_keeps_the_best_weights_and_leaves_held_out_images_alone(
    training: MakeTraining, work: Work
) -> None:
    # A rate that destroys what was learnt soon.
    trained = train(training(12, {"learning_rate": 0.05, "optimiser": "sgd"}, patience=1))
    watched = [one.watched_loss for one in trained.run.epochs]
    assert None not in watched
    assert trained.run.judged_epoch == int(np.argmin(watched))
    assert all(one.accuracy is None and one.held_out_loss is None for one in trained.run.epochs)
    seen = {one.expected for one in trained.ledger.epochs}  # type: ignore[union-attr] # there is one
    assert seen == {len(with_watched(work.source).ids("train"))}
    assert trained.predictions is not None
    assert trained.predictions.ids.tolist() == work.source.ids("val").tolist()
    if trained.run.stopped is None:
        assert len(trained.run.epochs) == 12
    else:
        assert len(trained.run.epochs) == trained.run.judged_epoch + 2


def test_patience_runs_out() -> None:
    watch = Watch(2)
    over = []
    for epoch, loss in enumerate([3.0, 2.0, 2.5, 1.9, 1.9, 2.0]):
        watch = watch.after(epoch, loss, {"epoch": torch.tensor(epoch)})
        over.append(watch.is_over(epoch))
    assert over == [False, False, False, False, False, True]
    assert (watch.best_epoch, watch.best_weights["epoch"]) == (3, 3)


def test_a_loss_that_is_no_number_stops_and_the_last_checkpoint_is_good(
    training: MakeTraining, tmp_path: Path
) -> None:
    path = tmp_path / "some.pt"
    chosen = training(3, {"learning_rate": 1e-3, "optimiser": "sgd"}, checkpoint=path)
    train(replace(chosen, epochs=1))
    wild = replace(chosen, recipe=replace(chosen.recipe, learning_rate=1e30), checkpoint=tmp_path / "wild.pt")
    with pytest.raises(DivergedError, match=r"the loss became (nan|inf) in epoch 1, step \d: training stops"):
        train(wild)
    assert not (tmp_path / "wild.pt").exists()
    # Resumed from a good one, a wild rate leaves it as it was.
    state = read(path)
    state.run["course"]["recipe.learning_rate"] = 1e30
    for group in state.run["step"]["optimizer"]["param_groups"]:
        group["lr"] = 1e30
    state.run["step"]["schedule"]["base_lrs"] = [1e30, 1e30]
    save(path, state)
    before = path.read_bytes()
    with pytest.raises(DivergedError, match="in epoch 2, step"):
        train(replace(wild, checkpoint=path, resume=True))
    assert path.read_bytes() == before


def test_numbers_are_predicted_where_labels_are_numbers(
    training: MakeTraining, work: Work, digits: Path
) -> None:
    source = open_source(digits / "digits.npy", labels=digits / "heights.npy")
    chosen = training(
        12,
        {"loss": "squared", "schedule": "cosine"},
        model="cnn_small",
        work=replace(work, source=source),
        patience=12,
    )
    trained = train(chosen)
    assert trained.predictions is not None
    found = judge(trained.predictions)
    assert isinstance(found, Regression)
    assert found.r2 is not None
    assert found.r2 > 0.2
    with pytest.raises(OptionError, match="--loss squared"):
        training(work=replace(work, source=source))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "--epochs must be a whole number"),
        ({"target_accuracy": 94.0}, "--target-accuracy must lie in 0..1"),
        ({"resume": True}, "--resume needs --checkpoint"),
        ({"target_accuracy": 0.5, "patience": 2}, "choose one"),
        ({"checkpoint": Path("/no/such/folder/file.pt")}, "there is no folder"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], words: str, training: MakeTraining) -> None:
    with pytest.raises(OptionError, match=words):
        training(**changes)


@pytest.mark.parametrize("loader", ["replay", "own_pipelines:plain"])
def test_a_loader_that_is_none_to_train_with_is_refused(loader: str, training: MakeTraining) -> None:
    with pytest.raises(OptionError, match="train with"):
        train(training(1, loader=loader))


def test_progress_is_told(training: MakeTraining) -> None:
    class Told(Silence):
        def __init__(self) -> None:
            self.records: list[EpochRecord] = []
            self.moments: list[Moment] = []

        def moment(self, moment: Moment) -> None:
            self.moments.append(moment)

        def epoch(self, record: EpochRecord, one: Pass) -> None:  # noqa: ARG002 - a listener's signature
            self.records.append(record)

    told = Told()
    trained = train(training(2), told)
    assert tuple(told.records) == trained.run.epochs
    assert all(0 <= one.wait_fraction <= 1 and one.batch <= one.batches for one in told.moments)
