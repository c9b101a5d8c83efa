"""From arrays to a judged model: watched, stopped in time, and never fooled by what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from throughput.contracts import Work
from throughput.errors import OptionError
from throughput.results import EpochRecord, Pass
from throughput.sources import open_source
from throughput.trained import Classification, Regression
from throughput.training.checkpoint import Subject, read, save
from throughput.training.course import Training
from throughput.training.early_stopping import Watch, with_watched
from throughput.training.epoch import Losses, Moment
from throughput.training.errors import DivergedError
from throughput.training.feeding import Feeding
from throughput.training.metrics import judge
from throughput.training.predictions import answering, predict
from throughput.training.trainer import Silence, Trained, train

MakeTraining = Callable[..., Training]


def weights(trained: Trained) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in trained.model.state_dict().values()])


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
    assert trained.run.target_wall_seconds is not None
    assert trained.run.target_wall_seconds > trained.run.target_seconds, "judging takes time"
    assert all((one.accuracy or 0) < 0.15 for one in trained.run.epochs[:-1])


def test_a_target_that_is_not_reached_has_no_time(training: MakeTraining) -> None:
    run = train(training(1, target_accuracy=1.0)).run
    assert (run.target_seconds, run.target_wall_seconds) == (None, None)


def test_nobody_timed_by_the_clock_what_was_resumed(training: MakeTraining, tmp_path: Path) -> None:
    chosen = training(1, checkpoint=tmp_path / "some.pt")
    train(chosen)
    run = train(replace(chosen, epochs=2, resume=True, target_accuracy=0.01)).run
    assert run.target_seconds is not None
    assert run.target_wall_seconds is None


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
    # The model that is returned is that of the best epoch, and not of the last one.
    parted = replace(work, source=with_watched(work.source), split="val")
    answer = answering(trained.model, torch.device("cpu"), "float32")
    with Feeding.by("torchvision", {}, work).open(parted) as feed:
        found = judge(predict(answer, feed.epoch(0), parted.source.ids("val")))
    assert found.loss == pytest.approx(min(loss for loss in watched if loss is not None), rel=1e-5)
    assert watched[-1] != min(loss for loss in watched if loss is not None)
    if trained.run.stopped is None:
        assert len(trained.run.epochs) == 12
    else:
        assert len(trained.run.epochs) == trained.run.judged_epoch + 2


def test_what_is_watched_is_what_is_trained_for(training: MakeTraining, work: Work) -> None:
    trained = train(training(2, {"loss": "squared"}, patience=5))
    parted = replace(work, source=with_watched(work.source), split="val")
    answer = answering(trained.model, torch.device("cpu"), "float32")
    with Feeding.by("torchvision", {}, work).open(parted) as feed:
        found = predict(answer, feed.epoch(0), parted.source.ids("val")).probabilities()
    off = found.outputs.numpy() - np.eye(10)[found.labels.numpy()]
    watched_loss = trained.run.epochs[trained.run.judged_epoch].watched_loss
    assert watched_loss == pytest.approx((off**2).sum(1).mean(), rel=1e-5)


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


@pytest.mark.parametrize("averaging", [None, 0.5])
def test_weights_that_are_no_numbers_are_not_kept(
    averaging: float | None, training: MakeTraining, work: Work, tmp_path: Path
) -> None:
    path = tmp_path / "some.pt"
    # One step an epoch: each loss is read before the weights change.
    one_step = replace(work, batch_size=len(work.source.ids("train")))
    chosen = training(1, {"averaging": averaging}, work=one_step, checkpoint=path)
    train(chosen)
    before = path.read_bytes()

    def make() -> nn.Module:
        model = Subject.of("cnn28", one_step).build()
        next(model.parameters()).register_hook(lambda gradient: gradient * float("nan"))
        return model

    with pytest.raises(DivergedError, match="is no finite number any more at the end of epoch 2"):
        train(replace(chosen, epochs=2, resume=True), make=make)
    assert path.read_bytes() == before


@pytest.mark.parametrize("patience", [None, 1])
def test_a_judged_loss_that_is_no_number_stops_too(
    patience: int | None, training: MakeTraining, work: Work, tmp_path: Path
) -> None:
    seen = work.source if patience is None else with_watched(work.source)
    wild = training(
        2,
        {"learning_rate": 1e30, "optimiser": "sgd"},
        work=replace(work, batch_size=len(seen.ids("train"))),
        patience=patience,
        checkpoint=tmp_path / "some.pt",
    )
    with pytest.raises(DivergedError, match=r"the loss of images that are judged is (nan|inf) after epoch 1"):
        train(wild)
    assert not (tmp_path / "some.pt").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "lower --batch"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "lower --batch"),
        (
            RuntimeError("some_backward_cuda does not have a deterministic implementation, but you set"),
            "--deterministic: some_backward_cuda does not",
        ),
    ],
)
def test_what_torch_refuses_is_told_in_words(
    error: RuntimeError, words: str, training: MakeTraining, work: Work
) -> None:
    class Refusing(nn.Linear):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            if self.training:
                raise error
            return super().forward(values)

    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), Refusing(16 * 16, 10))

    with pytest.raises(OptionError, match=words):
        train(training(1, work=work), make=make)


def test_an_epochs_loss_weighs_batches_by_their_images() -> None:
    losses = Losses(0)
    losses.add(torch.tensor(1.0), 30)
    assert losses.mean() == 1
    losses.add(torch.tensor(4.0), 10)
    assert losses.mean() == pytest.approx(1.75)


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
        ({"recipe": {"warmup_epochs": 2.5}}, "--warmup 2.5 is longer than --epochs 2"),
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
    # It is looked at three times a batch: one is told a batch, of 6 in an epoch.
    ticks = count()
    trained = train(training(2), told, clock=lambda: 0.1 * next(ticks))
    assert tuple(told.records) == trained.run.epochs
    assert [(one.epoch, one.batch, one.batches) for one in told.moments] == [
        (epoch, batch, 6) for epoch in range(2) for batch in range(1, 7)
    ]
    assert all(0 < one.wait_fraction < 1 and one.images_per_second > 0 for one in told.moments)
    assert told.moments[5].loss == pytest.approx(told.records[0].loss)
