"""The whole of training: epoch after epoch, judged, kept, and stopped in time. It prints nothing."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from throughput.command_line import command_line
from throughput.contracts import Prepared, Progress, Work, no_progress
from throughput.measure.feed import Feed
from throughput.measure.labels import Labels
from throughput.measure.ledger import Ledger
from throughput.measure.waiting import waiting_on
from throughput.ranks.company import ALONE, Company
from throughput.ranks.judging import judging_share, predict_together
from throughput.ranks.ledgers import LedgerOfAll
from throughput.ranks.merging import merge_epoch, share_of
from throughput.ranks.sameness import require_same_past
from throughput.results import LedgerCount, Pass, Phase, RankShare
from throughput.trained import Classification, EpochRecord, TrainingRun
from throughput.training.checkpoint import (
    Checkpoint,
    Subject,
    checkpoint_file,
    load_weights,
    save,
    untrained,
)
from throughput.training.counting import predict_counted
from throughput.training.course import Training, course_of
from throughput.training.early_stopping import Watch, with_watched
from throughput.training.epoch import train_epoch
from throughput.training.errors import CheckpointError, DivergedError
from throughput.training.feeding import Feeding, held_out
from throughput.training.fitting import require_fit
from throughput.training.keeping import Keeping
from throughput.training.listening import Listener, Silence
from throughput.training.losses import make_loss
from throughput.training.metrics import judge
from throughput.training.past import Past, past_of
from throughput.training.predictions import Predictions, answering
from throughput.training.process import torch_errors_in_words, torch_settings
from throughput.training.resumption import Part, checkpoint_to_go_on_from, load_part, part_of, told_of
from throughput.training.spans import epoch_gap_seconds, target_seconds
from throughput.training.step import Horizon, StepSettings, TrainingStep


@dataclass(frozen=True)
class Trained:
    """What came of it. phase: a pass for each epoch, those before a resumption included.

    steps, images: how much was trained in all. model: as it is judged, in evaluation mode.
    predictions, held_out_ledger: of the held-out images; None where there are none. prepared: what the loader
    wrote before. ranks: what each of several did in this run.
    """

    run: TrainingRun
    phase: Phase
    ledger: LedgerCount | None
    steps: int
    images: int
    model: Module
    predictions: Predictions | None
    held_out_ledger: LedgerCount | None
    prepared: Prepared
    ranks: tuple[RankShare, ...] = ()


def train(
    training: Training,
    listener: Listener | None = None,
    progress: Progress = no_progress,
    make: Callable[[], Module] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    company: Company = ALONE,
) -> Trained:
    """Train, and judge the weights that come out of it on the held-out images.

    make: builds the model to begin with; None: a fresh one, the same for every loader of a seed. company: the
    ranks that train together, each on its share of the work; what comes out is the same in each. Raises a
    ThroughputError: DivergedError where a loss or a weight is not finite; the last checkpoint stays.
    OptionError where there is a checkpoint that nobody asked to go on from.
    """
    with torch_settings(training), torch_errors_in_words(training), ExitStack() as opened:
        return _Course(training, listener or Silence(), progress, make, clock, opened, company).run()


class _Judged(NamedTuple):
    """A split to judge by. ids: (N,), all of it."""

    feed: Feed
    ids: NDArray[np.int64]


class _Course:
    """A run of training: what is open, and what has come of it so far."""

    def __init__(
        self,
        training: Training,
        listener: Listener,
        progress: Progress,
        make: Callable[[], Module] | None,
        clock: Callable[[], float],
        opened: ExitStack,
        company: Company,
    ) -> None:
        self._training = training
        self._company = company
        self._listener = listener
        self._clock = clock
        work = training.work
        self._device = torch.device(work.device)
        self._feeding = Feeding.by(training.loader, training.options, work)
        self._subject = Subject.of(training.model, work)
        self._make = make or self._subject.build
        self._course = course_of(training)
        self._path = None if training.checkpoint is None else checkpoint_file(training.checkpoint)
        # What is wrong with these is told before gigabytes are prepared.
        found = checkpoint_to_go_on_from(
            self._path, training, self._subject, self._course, self._listener.note
        )
        past = None if self._path is None or found is None else past_of(self._path, found.run)
        model = self._new_model(begins=found is None)
        self._watch = None if training.patience is None else Watch(training.patience)
        parted = work if self._watch is None else replace(work, source=with_watched(work.source))
        with company.first_on_each_machine():
            whole = self._feeding.prepare(work, progress)
            train_work = whole.work if self._watch is None else self._feeding.prepare(parted, progress).work
        self._prepared = whole
        self._opening_seconds = clock()
        self._first_batch_seconds: float | None = None
        self._wall_seconds = 0.0
        self._feed = opened.enter_context(self._feeding.open(train_work))
        self._ledger = self._new_ledger()
        self._ledger_of_all = LedgerOfAll(self._ledger, company)
        self._held_out = _opened(self._feeding, held_out(whole.work), opened, company)
        watched = held_out(train_work) if self._watch else None
        self._watched = _opened(self._feeding, watched, opened, company)
        self._batches = max(company.everyone(-(-self._feed.samples_per_epoch // train_work.batch_size)))
        settings = StepSettings(
            self._device, work.compute_dtype, training.compile, training.deterministic, company.size > 1
        )
        horizon = Horizon(training.epochs, self._batches)
        self._step = TrainingStep(model, settings, training.recipe, horizon)
        self._resumed = found is not None
        self._past = past or Past()
        self._records: list[EpochRecord] = list(self._past.records)
        self._passes: list[Pass] = list(self._past.passes)
        self._passes_of_ranks: list[list[Pass]] = []
        self._weights: Mapping[str, Tensor] = {}
        self._part: Part | None = None
        if found is not None:
            self._restore(found)
        require_same_past(company, (len(self._records), 0 if self._part is None else self._part.batches))
        self._keeping: Keeping | None = None
        loader = self._feed.resumable
        if self._path is not None and loader is not None:
            self._keeping = Keeping(loader, training.checkpoint_seconds, self._keep_part, company)
        elif self._path is not None:
            self._listener.note(
                f"the loader {training.loader} does not tell what it has delivered: checkpoints are written "
                "after whole epochs only"
            )

    def run(self) -> Trained:
        training = self._training
        stopped = self._why_stop()
        while stopped is None and len(self._records) < training.epochs:
            epoch = len(self._records)
            with nullcontext() if self._keeping is None else self._keeping.stopping.at_boundaries():
                own = train_epoch(
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
                    part=self._part,
                    keeping=self._keeping,
                    clock=self._clock,
                    company=self._company,
                )
            self._part = None
            told = self._company.everyone(own)
            self._passes_of_ranks.append([one for one, _ in told])
            one, loss = merge_epoch(told)
            state = self._finite_state(f"at the end of epoch {epoch + 1}")
            self._records.append(self._judged(epoch, one, loss))
            self._passes.append(one)
            self._keep(epoch, state)
            self._wall_seconds = self._clock() - self._opening_seconds
            self._listener.epoch(self._records[-1], one)
            stopped = self._why_stop()
        return self._trained(stopped)

    def _begun(self) -> None:
        """The first batch of an epoch is ready."""
        if self._first_batch_seconds is None:
            self._first_batch_seconds = self._clock() - self._opening_seconds

    def _finite_state(self, when: str) -> dict[str, Any]:
        """The step's state. Raises DivergedError where its last update made a weight that is no number.

        The losses do not tell: each was read before its update.
        """
        if self._company.size > 1:
            from throughput.ranks.gradients import share_buffers

            share_buffers((self._step.model, self._step.judged))
        state = self._step.state()
        average = {} if state["average"] is None else state["average"]["module"]
        for name, value in (*state["model"].items(), *average.items()):
            if not bool(torch.isfinite(value).all()):
                raise DivergedError(f"{name} is no finite number any more {when}")
        return state

    def _judged(self, epoch: int, one: Pass, loss: float) -> EpochRecord:
        """The epoch's record; the held-out images are left alone where early stopping watches others."""
        record = EpochRecord(epoch, loss, one.seconds, self._step.learning_rate)
        if self._watched is not None:
            seen = self._predicted(self._watched)
            watched_loss = make_loss(replace(self._training.recipe, label_smoothing=0.0))
            found = float(watched_loss(seen.outputs.double(), seen.labels))
            record = replace(record, watched_loss=_finite(epoch, found))
        if self._held_out is None or self._watch is not None:
            return record
        judged = judge(self._predicted(self._held_out))
        accuracy = judged.top1 if isinstance(judged, Classification) else None
        return replace(record, held_out_loss=_finite(epoch, judged.loss), accuracy=accuracy)

    def _predicted(self, split: _Judged) -> Predictions:
        self._step.eval()
        feed, ids = split
        found = predict_together(self._step.predict, feed.epoch(0), ids, feed.take_faults, self._company)
        self._step.train()
        return found

    def _keep(self, epoch: int, state: dict[str, Any]) -> None:
        """Remember the weights that are judged, and write the checkpoint."""
        weights = self._step.judged_weights(state)
        if self._watch is not None:
            watched_loss = self._records[-1].watched_loss
            assert watched_loss is not None
            self._watch = self._watch.after(epoch, watched_loss, weights)
            weights = self._watch.best_weights or weights
        self._weights = weights
        if self._path is not None:
            self._write(weights, state, [])

    def _keep_part(self, part: Part, ends: bool) -> None:
        """Write a checkpoint in the middle of an epoch: its weights are the latest, or the best so far."""
        state = self._finite_state(f"after batch {part.batches} of epoch {part.epoch + 1}")
        best = None if self._watch is None else self._watch.best_weights
        parts = self._company.everyone(part)
        self._write(best or self._step.judged_weights(state), state, parts)
        if ends:
            self._company.meet()  # until it is written
            self._company.end_soon()

    def _write(self, weights: Mapping[str, Tensor], state: dict[str, Any], parts: list[Part]) -> None:
        assert self._path is not None
        count = self._ledger_count()
        past = Past(
            records=tuple(self._records),
            passes=tuple(self._passes),
            counts=count.epochs,
            mislabelled=count.mislabelled,
            bad_samples=count.bad_samples,
            best_loss=None if self._watch is None else self._watch.best_loss,
            best_epoch=None if self._watch is None else self._watch.best_epoch,
        )
        command = command_line()
        run = {"course": self._course, "step": state, "command": command} | past.to_plain()
        if parts:
            run["part"] = told_of(parts)
        if self._company.rank == 0:
            save(self._path, Checkpoint(self._subject, weights, run))

    def _ledger_count(self) -> LedgerCount:
        return self._past.with_these(self._ledger_of_all.count_finished())

    def _restore(self, found: Checkpoint) -> None:
        assert self._path is not None
        try:
            self._step.model.load_state_dict(found.weights)
            self._step.restore(found.run["step"])
        except (RuntimeError, TypeError, KeyError, AttributeError, ValueError) as error:
            # torch's own checks of a state are of all these kinds.
            cause = " ".join(str(error).split())
            raise CheckpointError(f"{self._path} is damaged: it does not fit its model ({cause})") from error
        self._weights = found.weights
        self._part = part_of(self._path, found.run, len(self._records), self._company.rank)
        if self._part is not None:
            load_part(self._path, self._part, self._feed.resumable, self._new_ledger(), self._listener.note)
        if self._watch is not None and self._records:
            best_loss, best_epoch = self._past.best_loss, self._past.best_epoch
            if best_loss is None or best_epoch is None:
                raise CheckpointError(f"{self._path} is damaged: it does not tell its best epoch")
            self._watch = replace(
                self._watch, best_loss=best_loss, best_epoch=best_epoch, best_weights=dict(found.weights)
            )

    def _new_ledger(self) -> Ledger:
        source = self._feed.work.source
        return Ledger(source.ids("train"), Labels(source.labels), keeps_seen=self._company.size > 1)

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
        predictions = held_out_ledger = None
        if self._held_out is not None:
            answer = answering(model, self._device, training.work.compute_dtype)
            source = self._prepared.work.source
            predictions, held_out_ledger = predict_counted(answer, self._held_out.feed, source, self._company)
        seconds_to_target = target_seconds(self._records, training.target_accuracy)
        run = TrainingRun(
            model=training.model,
            recipe=asdict(training.recipe),
            epochs=tuple(self._records),
            asked_epochs=training.epochs,
            judged_epoch=self._records[-1].epoch if self._watch is None else self._watch.best_epoch,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            stopped=stopped,
            target_accuracy=training.target_accuracy,
            target_seconds=seconds_to_target,
            # The epoch that reaches the target is the last. What an earlier process took, nobody timed.
            target_wall_seconds=None if seconds_to_target is None or self._resumed else self._wall_seconds,
            checkpoint=None if self._path is None else str(self._path),
        )
        gap_seconds = epoch_gap_seconds(self._passes[len(self._past.passes) :])
        ledger = self._ledger_count()
        return Trained(
            run=run,
            phase=Phase(tuple(self._passes), self._first_batch_seconds, gap_seconds),
            ledger=ledger if ledger.epochs else None,
            steps=self._step.steps,
            images=self._step.images,
            model=model,
            predictions=predictions,
            held_out_ledger=held_out_ledger,
            prepared=self._prepared,
            ranks=self._ranks(),
        )

    def _ranks(self) -> tuple[RankShare, ...]:
        hosts = self._company.everyone(socket.gethostname())
        passes = zip(*self._passes_of_ranks, strict=True) if len(hosts) > 1 else ()
        return tuple(share_of(rank, hosts[rank], Phase(own)) for rank, own in enumerate(passes))

    def _new_model(self, *, begins: bool) -> Module:
        """begins: training does, and does not go on with the weights of a checkpoint."""
        training = self._training
        torch.manual_seed(training.work.seed)
        model = self._make()
        require_fit(model, self._subject)
        if begins and training.weights is not None and (left := load_weights(model, training.weights)):
            self._listener.note(untrained(training.weights, left))
        return model


def _finite(epoch: int, loss: float) -> float:
    """The loss of images that are judged. Raises DivergedError where it is no finite number."""
    if not math.isfinite(loss):
        raise DivergedError(f"the loss of images that are judged is {loss} after epoch {epoch + 1}")
    return loss


def _opened(feeding: Feeding, work: Work | None, opened: ExitStack, company: Company) -> _Judged | None:
    if work is None:
        return None
    share = judging_share(work, company)
    return _Judged(opened.enter_context(feeding.open(share)), work.source.ids("val"))
