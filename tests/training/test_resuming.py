"""A run that was stopped in the middle of an epoch goes on there: with the rest, to the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch.nn import Module

from throughput.contracts import Augmentation, Batch, Loader, Work
from throughput.errors import LoaderError, OptionError
from throughput.loaders.imagefolder import TorchvisionLoaderFactory
from throughput.loaders.workers import WorkerOptions
from throughput.resuming import packed, unpacked
from throughput.training import keeping
from throughput.training.checkpoint import Checkpoint, Subject, read, save
from throughput.training.course import Training
from throughput.training.errors import CheckpointError
from throughput.training.keeping import StoppedError
from throughput.training.trainer import Silence, Trained, train

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

MakeTraining = Callable[..., Training]
Kept = tuple[Training, Checkpoint]
BATCHES = 6
"""Of an epoch of the digits."""
KILLING = Path(__file__).parent.parent / "benchmarks" / "killing.py"


class Notes(Silence):
    """What a user is told before the first epoch."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(autouse=True)
def _interruption_is_heard() -> Iterator[None]:
    """A shell has it ignored by what runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    raise KeyboardInterrupt


def ask_to_end() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def disturbed(training: Training, batch: int, disturb: Callable[[], None] = interrupt) -> Trained:
    """Train; ``disturb`` is called when so many batches were trained on in this process."""

    def make() -> Module:
        model, trained = Subject.of(training.model, training.work).build(), count()

        def look(module: Module, _: object) -> None:
            if module.training and next(trained) == batch:
                disturb()

        model.register_forward_pre_hook(look)
        return model

    return train(training, make=make)


def weights(trained: Trained) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in trained.model.state_dict().values()])


def require_same(resumed: Trained, straight: Trained) -> None:
    assert torch.equal(weights(resumed), weights(straight))
    assert [replace(one, seconds=0.0) for one in resumed.run.epochs] == [
        replace(one, seconds=0.0) for one in straight.run.epochs
    ]
    assert [one.images for one in resumed.phase.passes] == [one.images for one in straight.phase.passes]
    assert resumed.ledger == straight.ledger
    assert resumed.ledger is not None
    assert resumed.ledger.exact
    assert (resumed.steps, resumed.images) == (straight.steps, straight.images)


@pytest.fixture
def often(training: MakeTraining, tmp_path: Path) -> MakeTraining:
    """Makes a training with a checkpoint wherever one can be written."""

    def make(*arguments: Any, **changes: Any) -> Training:
        chosen = {"checkpoint": tmp_path / "some.pt", "checkpoint_seconds": 0.0, "deterministic": True}
        return training(*arguments, **(chosen | changes))

    return make


@pytest.mark.parametrize("patience", [None, 2])
def test_a_run_that_was_stopped_in_mid_epoch_goes_on_to_the_bit(
    often: MakeTraining, work: Work, patience: int | None
) -> None:
    recipe = {"schedule": "cosine", "warmup_epochs": 0.5, "averaging": 0.9, "accumulate": 2}
    noisy = replace(work, augmentation=Augmentation(crop="random", rotation_degrees=20, noise=0.1))
    chosen = often(3, recipe, work=noisy, patience=patience)
    straight = train(replace(chosen, checkpoint=None))
    for batch, workers, kept in ((3, 1, (0, 2)), (7, 2, (1, 2)), (0, 3, (1, 2))):
        going_on = replace(chosen, work=replace(noisy, workers=workers), resume=True)
        with pytest.raises(KeyboardInterrupt):
            disturbed(going_on, batch)
        torch.rand(7)  # whatever happens in between
        assert chosen.checkpoint is not None
        part = read(chosen.checkpoint).run["part"]
        assert (part["epoch"], part["batches"]) == kept
    require_same(train(replace(chosen, resume=True)), straight)


@pytest.mark.parametrize("batch", [BATCHES - 1, BATCHES])
def test_the_last_boundary_of_an_epoch_is_one_like_others(often: MakeTraining, batch: int) -> None:
    chosen = often(2)
    straight = train(replace(chosen, checkpoint=None))
    with pytest.raises(KeyboardInterrupt):
        disturbed(chosen, batch)
    require_same(train(replace(chosen, resume=True)), straight)


@pytest.mark.parametrize("loader", ["webdataset", "roi", "dali"])
def test_each_image_comes_once_by_whatever_loader(
    often: MakeTraining, work: Work, loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    chosen = often(2, loader=loader)
    with pytest.raises(KeyboardInterrupt):
        disturbed(chosen, 2)
    resumed = train(replace(chosen, work=replace(work, workers=2), resume=True))
    assert resumed.ledger is not None
    assert resumed.ledger.exact
    assert resumed.images == 2 * len(work.source.ids("train"))


def test_another_number_of_workers_is_noted(often: MakeTraining, work: Work, tmp_path: Path) -> None:
    chosen, notes = often(1), Notes()
    train(chosen, notes)
    assert notes.texts == []
    train(replace(chosen, work=replace(work, workers=2), epochs=2, resume=True), notes)
    (told,) = notes.texts
    assert told.startswith(f"{tmp_path / 'some.pt'} was trained with 1 workers, and goes on with 2")


def test_a_request_to_end_waits_for_the_batch(often: MakeTraining) -> None:
    chosen = replace(often(2), checkpoint_seconds=600.0)
    straight = train(replace(chosen, checkpoint=None))
    hears_of_workers = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(StoppedError) as stopped:
        disturbed(chosen, BATCHES + 2, ask_to_end)
    assert (stopped.value.epoch, stopped.value.batches) == (1, 3)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGCHLD) is hears_of_workers
    require_same(train(replace(chosen, resume=True)), straight)


def test_a_batch_that_does_not_end_is_not_waited_for(
    often: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(often(1), checkpoint_seconds=600.0)

    def ask_twice() -> None:
        ask_to_end()
        ask_to_end()

    def ask_and_wait() -> None:
        ask_to_end()
        signal.pause()

    monkeypatch.setitem(keeping.GRACE_SECONDS, signal.SIGINT, 0.01)
    for disturb in (ask_twice, ask_and_wait):
        with pytest.raises(KeyboardInterrupt) as stopped:
            disturbed(chosen, 2, disturb)
        assert not isinstance(stopped.value, StoppedError)
        assert chosen.checkpoint is not None
        assert not chosen.checkpoint.exists()


def test_what_was_gathered_and_not_used_is_kept_at_the_epochs_end(often: MakeTraining) -> None:
    chosen = replace(often(1, {"accumulate": 4}), checkpoint_seconds=600.0)
    straight = train(replace(chosen, checkpoint=None))
    with pytest.raises(StoppedError) as stopped:
        disturbed(chosen, BATCHES - 1, ask_to_end)
    assert stopped.value.batches == BATCHES
    require_same(train(replace(chosen, resume=True)), straight)


class EndedFactory(TorchvisionLoaderFactory):
    """Its loader is ended together with the run, by whoever asks both to end, before a train batch comes."""

    ended = False

    @contextmanager
    def open(self, work: Work, options: WorkerOptions) -> Iterator[Loader]:
        with super().open(work, options) as loader:
            whole = loader.epoch

            def epoch(index: int) -> Iterator[Batch]:
                if self.ended and work.split == "train":
                    ask_to_end()
                    raise LoaderError("its workers ended")
                return whole(index)

            loader.epoch = epoch  # type: ignore[method-assign] # for this one loader
            yield loader


def test_a_run_that_is_ended_again_before_its_first_batch_goes_on_all_the_same(
    often: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = often(1, loader=f"{__name__}:EndedFactory")
    assert chosen.checkpoint is not None
    with pytest.raises(KeyboardInterrupt):
        disturbed(chosen, 2)
    straight = train(replace(chosen, checkpoint=None))
    before = read(chosen.checkpoint).run["part"]
    torch.rand(7)
    monkeypatch.setattr(EndedFactory, "ended", True)
    with pytest.raises(KeyboardInterrupt):
        train(replace(chosen, resume=True))
    after = read(chosen.checkpoint).run["part"]
    assert after["batches"] == before["batches"]
    assert torch.equal(after["random"]["host"], before["random"]["host"])
    monkeypatch.setattr(EndedFactory, "ended", False)
    require_same(train(replace(chosen, resume=True)), straight)


def test_a_worker_that_dies_during_a_step_is_told_in_words(training: MakeTraining) -> None:
    before = set(psutil.Process().children())

    def kill_a_worker() -> None:
        (worker,) = set(psutil.Process().children()) - before
        worker.kill()
        threading.Event().wait(30)  # torch raises from its handler of SIGCHLD

    with pytest.raises(LoaderError, match=r"a worker process died: .* Killed.* fewer --workers"):
        disturbed(training(1), 2, kill_a_worker)


@pytest.fixture
def kept(often: MakeTraining, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A training that was stopped after two batches, to be gone on with, and its checkpoint to be changed."""
    chosen, undamaged = often(1), tmp_path_factory.getbasetemp() / "undamaged-part.pt"
    if not undamaged.exists():
        with pytest.raises(KeyboardInterrupt):
            disturbed(replace(chosen, checkpoint=undamaged), 2)
    return replace(chosen, resume=True), read(undamaged)


def loader_marks(part: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return unpacked(part["loader"]["by_rank"], part["loader"]["samples"])


def test_an_epochs_pass_is_the_sum_of_its_parts(kept: Kept, work: Work) -> None:
    chosen, found = kept
    part = found.run["part"]
    assert part["images"] == 2 * work.batch_size
    part["seconds"], part["wait_seconds"] = 1000.0, 100.0
    assert chosen.checkpoint is not None
    save(chosen.checkpoint, found)
    (one,) = train(chosen).phase.passes
    assert one.images == len(work.source.ids("train"))
    assert 1000 < one.seconds < 1100
    assert one.wait_seconds == pytest.approx(100 + sum(one.batch_wait_seconds))
    assert len(one.batch_wait_seconds) == BATCHES - 2


@pytest.mark.parametrize(("mark", "fault"), [(True, "missing"), (False, "duplicate")])
def test_the_ledger_of_both_parts_finds_a_loader_that_goes_on_elsewhere(
    kept: Kept, mark: bool, fault: str
) -> None:
    chosen, found = kept
    part = found.run["part"]
    marks = loader_marks(part)
    train_ids = chosen.work.source.ids("train")
    sample = train_ids[marks[train_ids] != mark][0]
    marks[sample] = mark
    part["loader"]["by_rank"] = packed(marks)
    assert chosen.checkpoint is not None
    save(chosen.checkpoint, found)
    ledger = train(chosen).ledger
    assert ledger is not None
    assert not ledger.exact
    (epoch,) = ledger.epochs
    assert (epoch.missing, epoch.duplicate) == ((1, 0) if fault == "missing" else (0, 1))


def test_a_loader_that_does_not_tell_goes_on_from_the_last_whole_epoch(often: MakeTraining) -> None:
    fake, notes = often(2, loader="throughput.testing:FakeLoaderFactory"), Notes()
    assert fake.checkpoint is not None
    with pytest.raises(KeyboardInterrupt):
        disturbed(fake, BATCHES - 1)
    assert not fake.checkpoint.exists()
    with pytest.raises(KeyboardInterrupt):
        disturbed(fake, BATCHES + 2, ask_to_end)
    assert len(read(fake.checkpoint).run["records"]) == 1
    resumed = train(replace(fake, resume=True), notes)
    assert resumed.ledger is not None
    assert resumed.ledger.exact
    (told,) = notes.texts
    assert told.endswith("what it has delivered: checkpoints are written after whole epochs only")


@pytest.mark.parametrize(
    "damage",
    [
        3,
        {},
        {"epoch": 1},
        {"batches": 0},
        {"batches": 3},
        {"losses": None},
        {"random": {}},
        {"random": {"host": torch.zeros(3, dtype=torch.uint8)}},
        {"random": 3},
        {"loader": None},
        {"loader": {}},
        {"ledger": {}},
        {"ledger": {"seen": "%", "duplicate": 0, "padded": 0, "unexpected": 0}},
        {"unheard": 1},
    ],
)
def test_a_damaged_part_is_refused(kept: Kept, damage: Any) -> None:
    chosen, found = kept
    assert chosen.checkpoint is not None
    part = found.run["part"]
    found.run["part"] = part | damage if isinstance(damage, dict) and damage else damage
    save(chosen.checkpoint, found)
    with pytest.raises(CheckpointError, match=r"damaged|cannot be gone on from"):
        train(chosen)


def test_a_part_of_other_images_is_refused(kept: Kept) -> None:
    chosen, found = kept
    assert chosen.checkpoint is not None
    found.run["part"]["loader"]["data"] = "another"
    save(chosen.checkpoint, found)
    with pytest.raises(CheckpointError, match=r"some\.pt cannot be gone on from: .* taken with other data"):
        train(chosen)


def test_a_checkpoint_of_the_format_before_is_gone_on_from(often: MakeTraining) -> None:
    chosen = often(1)
    assert chosen.checkpoint is not None
    train(chosen)
    content = torch.load(chosen.checkpoint, weights_only=True)
    del content["run"]["mislabelled"]
    torch.save(content | {"format": 1}, chosen.checkpoint)
    assert len(train(replace(chosen, epochs=2, resume=True)).run.epochs) == 2


def test_nothing_may_be_lost_in_less_than_no_time(often: MakeTraining) -> None:
    with pytest.raises(OptionError, match="--checkpoint-every must be 0 s or more"):
        often(1, checkpoint_seconds=-1.0)


def test_a_command_that_is_killed_goes_on_exactly(images: Path, surroundings: dict[str, str]) -> None:
    drill = (str(KILLING), "--kills=3", f"--data={images}", "--workers=1", "--seed=1")
    ran = subprocess.run(
        [sys.executable, *drill], env=surroundings, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    *kills, told = ran.stdout.splitlines()
    assert told.startswith("3 kills in ")
    assert told.endswith(": 0 faults")
    assert any("batches of epoch" in one for one in kills)
