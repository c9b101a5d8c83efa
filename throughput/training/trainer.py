"""The whole of training: epoch after epoch, judged, kept, and stopped in time. It prints nothing."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import Module

from throughput.contracts import Prepared, Progress, Work, no_progress
from throughput.errors import OptionError
from throughput.measure.environment import usable_cores
from throughput.measure.feed import Feed
from throughput.measure.ledger import Ledger
from throughput.measure.waiting import waiting_on
from throughput.results import EpochCount, LedgerCount, Pass, Phase
from throughput.trained import Classification, EpochRecord, Metrics, TrainingRun
from throughput.training.checkpoint import (
    Checkpoint,
    Subject,
    checkpoint_file,
    load_weights,
    read,
    require_same,
    save,
)
from throughput.training.course import Training, course_of, require_course
from throughput.training.early_stopping import Watch, with_watched
from throughput.training.epoch import Moment, train_epoch
from throughput.training.feeding import Feeding, held_out
from throughput.training.metrics import judge
from throughput.training.predictions import Predictions, answering, predict
from throughput.training.step import Horizon, StepSettings, TrainingStep


class Listener(Protocol):
    """Told how training goes. Must return at once."""

    def moment(self, moment: Moment) -> None:
        """A few times a second."""

    def epoch(self, record: EpochRecord, one: Pass) -> None:
        """After each epoch, once its checkpoint is written."""


class Silence:
    """Listens to nothing."""

    def moment(self, moment: Moment) -> None: ...

    def epoch(self, record: EpochRecord, one: Pass) -> None: ...


@dataclass(frozen=True)
class Trained:
    """What came of it. phase: a pass for each epoch, those before a resumption included.

    steps, images: how much was trained in all. model: as it is judged, in evaluation mode. predictions: of
    the held-out images, None where there are none. prepared: what the loader wrote before.
    """

    run: TrainingRun
    phase: Phase
    ledger: LedgerCount | None
    steps: int
    images: int
    model: Module
    predictions: Predictions | None
    prepared: Prepared


def train(
    training: Training,
    listener: Listener | None = None,
    progress: Progress = no_progress,
    make: Callable[[], Module] | None = None,
) -> Trained:
    """Train, and judge the weights that come out of it on the held-out images.

    make: builds the model to begin with; None: a fresh one, the same for every loader of a seed. Raises a
    ThroughputError: DivergedError where the loss is not finite; the checkpoint is that of the epoch before.
    """
    with _settings(training), ExitStack() as opened:
        return _Course(training, listener or Silence(), progress, make, opened).run()


class _Course:
    """A run of training: what is open, and what has come of it so far."""

    def __init__(
        self,
        training: Training,
        listener: Listener,
        progress: Progress,
        make: Callable[[], Module] | None,
        opened: ExitStack,
    ) -> None:
        self._training = training
        self._listener = listener
        work = training.work
        self._device = torch.device(work.device)
        self._feeding = Feeding.by(training.loader, training.options, work)
        self._watch = None if training.patience is None else Watch(training.patience)
        parted = work if self._watch is None else replace(work, source=with_watched(work.source))
        whole = self._feeding.prepare(work, progress)
        self._prepared = whole
        train_work = whole.work if self._watch is None else self._feeding.prepare(parted, progress).work
        self._opening_seconds = time.perf_counter()
        self._first_batch_seconds: float | None = None
        self._feed = opened.enter_context(self._feeding.open(train_work))
        self._ledger = Ledger(train_work.source.ids("train"))
        self._counts: list[EpochCount] = []
        held_out_work = held_out(whole.work)
        self._held_out = _opened(self._feeding, held_out_work, opened)
        self._watched = _opened(self._feeding, held_out(train_work) if self._watch else None, opened)
        self._batches = -(-self._feed.samples_per_epoch // train_work.batch_size)
        self._subject = Subject.of(training.model, work)
        self._make = make or self._subject.build
        self._step = self._new_step()
        self._records: list[EpochRecord] = []
        self._passes: list[Pass] = []
        self._weights: Mapping[str, Tensor] = {}
        self._course = course_of(training)
        if training.resume:
            self._resume()

    def run(self) -> Trained:
        training = self._training
        stopped = self._why_stop()
        while stopped is None and len(self._records) < training.epochs:
            epoch = len(self._records)
            one, loss = train_epoch(
                self._feed,
                self._step,
                epoch,
                seed=training.work.seed,
                batches=self._batches,
                ledger=self._ledger,
                # A new one: what lies between two epochs, as judging does, is no waiting.
                waiting=waiting_on(self._device),
                tell=self._listener.moment,
                begun=self._begun,
            )
            self._records.append(self._judged(epoch, one, loss))
            self._passes.append(one)
            self._keep(epoch)
            self._listener.epoch(self._records[-1], one)
            stopped = self._why_stop()
        return self._trained(stopped)

    def _begun(self) -> None:
        """The first batch of an epoch is ready."""
        if self._first_batch_seconds is None:
            self._first_batch_seconds = time.perf_counter() - self._opening_seconds

    def _judged(self, epoch: int, one: Pass, loss: float) -> EpochRecord:
        """The epoch's record; the held-out images are left alone where early stopping watches others."""
        record = EpochRecord(epoch, loss, one.seconds, self._step.learning_rate)
        if self._watched is not None:
            record = replace(record, watched_loss=self._metrics(self._watched).loss)
        if self._held_out is None or self._watch is not None:
            return record
        found = self._metrics(self._held_out)
        accuracy = found.top1 if isinstance(found, Classification) else None
        return replace(record, held_out_loss=found.loss, accuracy=accuracy)

    def _metrics(self, feed: Feed) -> Metrics:
        self._step.eval()
        found = judge(predict(self._step.predict, feed.epoch(0)))
        self._step.train()
        return found

    def _keep(self, epoch: int) -> None:
        """Remember the weights that are judged, and write the checkpoint."""
        state = self._step.state()
        weights = self._step.judged_weights(state)
        if self._watch is not None:
            watched_loss = self._records[-1].watched_loss
            assert watched_loss is not None
            self._watch = self._watch.after(epoch, watched_loss, weights)
            weights = self._watch.best_weights or weights
        self._weights = weights
        path = self._training.checkpoint
        if path is None:
            return
        count = self._ledger.count()
        run = {
            "course": self._course,
            "step": state,
            "records": [asdict(record) for record in self._records],
            "passes": [[one.images, one.seconds, one.wait_seconds] for one in self._passes],
            "counts": [asdict(one) for one in (*self._counts, *count.epochs)],
            "best_loss": None if self._watch is None else self._watch.best_loss,
            "best_epoch": None if self._watch is None else self._watch.best_epoch,
        }
        save(checkpoint_file(path), Checkpoint(self._subject, weights, run))

    def _resume(self) -> None:
        assert self._training.checkpoint is not None
        path = checkpoint_file(self._training.checkpoint)
        found = read(path)
        require_same(path, found.subject, self._subject)
        require_course(path, found.run.get("course", {}), self._course)
        run = found.run
        self._step.restore(run["step"])
        self._records = [EpochRecord(**record) for record in run["records"]]
        self._passes = [Pass(*one) for one in run["passes"]]
        self._counts = [EpochCount(**one) for one in run["counts"]]
        self._weights = found.weights
        if self._watch is not None:
            self._watch = replace(
                self._watch,
                best_loss=run["best_loss"],
                best_epoch=run["best_epoch"],
                best_weights=dict(found.weights),
            )

    def _why_stop(self) -> str | None:
        if not self._records:
            return None
        last, target = self._records[-1], self._training.target_accuracy
        if target is not None and last.accuracy is not None and last.accuracy >= target:
            return "the target accuracy was reached"
        if self._watch is not None and self._watch.is_over(last.epoch):
            return f"no lower loss on the watched images for {self._watch.patience} epochs"
        return None

    def _trained(self, stopped: str | None) -> Trained:
        training = self._training
        model = self._make()
        model.load_state_dict(self._weights)
        predictions = None
        if self._held_out is not None:
            answer = answering(model, self._device, training.work.compute_dtype)
            predictions = predict(answer, self._held_out.epoch(0))
        run = TrainingRun(
            model=training.model,
            recipe=asdict(training.recipe),
            epochs=tuple(self._records),
            asked_epochs=training.epochs,
            judged_epoch=self._records[-1].epoch if self._watch is None else self._watch.best_epoch,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            stopped=stopped,
            target_accuracy=training.target_accuracy,
            target_seconds=self._target_seconds(),
            checkpoint=None if training.checkpoint is None else str(checkpoint_file(training.checkpoint)),
        )
        ledger = LedgerCount((*self._counts, *self._ledger.count().epochs))
        return Trained(
            run=run,
            phase=Phase(tuple(self._passes), self._first_batch_seconds, self._epoch_gap_seconds()),
            ledger=ledger if ledger.epochs else None,
            steps=self._step.steps,
            images=self._step.images,
            model=model,
            predictions=predictions,
            prepared=self._prepared,
        )

    def _target_seconds(self) -> float | None:
        target, seconds = self._training.target_accuracy, 0.0
        for record in self._records:
            seconds += record.seconds
            if target is not None and record.accuracy is not None and record.accuracy >= target:
                return seconds
        return None

    def _epoch_gap_seconds(self) -> float | None:
        """Median wait for the first batch of an epoch that followed another; a resumed epoch tells none."""
        gaps = [one.batch_wait_seconds[0] for one in self._passes[1:] if one.batch_wait_seconds]
        return statistics.median(gaps) if gaps else None

    def _new_step(self) -> TrainingStep:
        training, work = self._training, self._training.work
        torch.manual_seed(work.seed)
        model = self._make()
        _require_fit(model, self._subject)
        if training.weights is not None:
            load_weights(model, training.weights)
        settings = StepSettings(self._device, work.compute_dtype, training.compile, training.deterministic)
        return TrainingStep(model, settings, training.recipe, Horizon(training.epochs, self._batches))


def _require_fit(model: Module, subject: Subject) -> None:
    """Raise OptionError, before any image is read, where the model cannot take such images."""
    image = torch.zeros(1, subject.channels, subject.image_size, subject.image_size)
    given = f"{subject.model} cannot train on images of {subject.image_size} px, {subject.channels} channels"
    try:
        with torch.no_grad():
            shape = tuple(model.eval()(image).shape)
    except Exception as error:  # a model may refuse in any way
        cause = " ".join(str(error).split())
        raise OptionError(f"{given}: {cause}; choose another --size or --model") from error
    if shape != (1, subject.outputs):
        raise OptionError(f"{given}: it gives {shape[1:]} for each, and {subject.outputs} numbers are wanted")


def _opened(feeding: Feeding, work: Work | None, opened: ExitStack) -> Feed | None:
    return None if work is None else opened.enter_context(feeding.open(work))


@contextmanager
def _settings(training: Training) -> Iterator[None]:
    """torch's settings of the process, as they were again afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    before = torch.are_deterministic_algorithms_enabled()
    if training.deterministic:
        # cuBLAS reads it when it is first used; without it, torch refuses matrix products.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before)
        torch.set_num_threads(threads)
