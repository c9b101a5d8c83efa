"""Measure one loader in this process: the loader alone, the model alone, both, and what was learnt."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice

import torch

from throughput.contracts import Batch, LoaderFactory, Work
from throughput.errors import LoaderError, ThroughputError, UnknownNameError
from throughput.measure.environment import usable_cores
from throughput.measure.events import Doing, Finished, Measured, Started, Tell
from throughput.measure.feed import Feed
from throughput.measure.ledger import Ledger
from throughput.measure.phases import Step, Tick, run_passes
from throughput.measure.plan import Plan
from throughput.measure.stream import LoaderStream, ReplayStream, Stream
from throughput.measure.waiting import waiting_on
from throughput.options import build_options
from throughput.registry import load_loader, load_model_family_for, missing_requirements
from throughput.results import LedgerCount, Phase, PhaseName, Preparation, Row
from throughput.training.evaluate import top1_accuracy
from throughput.training.step import StepSettings, TrainingStep

REPLAYED_BATCHES = 2
TELL_INTERVAL_SECONDS = 0.1
SUSPECT_SPREAD = 0.2
"""Passes that differ by more than this share of their median are remarked on."""
SUSPECT_EXCESS = 0.05
"""Training may come out above the model's own rate by noise; by more than this is remarked on."""


def measure_row(plan: Plan, tell: Tell) -> None:
    """Carry out a plan and tell of it; the last event is Finished, whatever went wrong."""
    try:
        tell(Started(_device_uuid(plan.work.device)))
        try:
            factory = load_loader(plan.loader)
        except UnknownNameError as error:
            # It is registered, or the parent would have refused it: its own package is broken.
            tell(Finished(Row(plan.loader, "skipped", str(error))))
            return
        reason = _why_not(factory, plan.work)
        if reason is not None:
            tell(Finished(Row(plan.loader, "skipped", reason)))
            return
        tell(Finished(_Measurement(plan, factory, tell).row()))
    except ThroughputError as error:
        bad_input = not isinstance(error, LoaderError)
        tell(Finished(Row(plan.loader, "failed", str(error), bad_input)))
    except Exception as error:  # noqa: BLE001 - a backend may fail in any way, and its row must say so
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        tell(Finished(Row(plan.loader, "failed", cause)))


def _why_not(factory: LoaderFactory, work: Work) -> str | None:
    missing = missing_requirements(factory)
    if missing:
        return "; ".join(f"{requirement.module} is missing: {requirement.install}" for requirement in missing)
    return factory.why_not(work)


def _warnings(row: Row) -> tuple[str, ...]:
    """What casts doubt on a row that was measured."""
    warnings = []
    if row.loss is not None and not math.isfinite(row.loss):
        warnings.append(f"the loss became {row.loss}: the model did not learn, try --precision fp32")
    for name, phase in (("alone", row.load), ("model", row.model), ("training", row.train)):
        rate = phase.images_per_second if phase is not None else None
        if rate is None or rate.low is None or rate.high is None:
            continue
        if rate.high - rate.low > SUSPECT_SPREAD * rate.median:
            warnings.append(
                f"{name}: the passes differ by {100 * (rate.high - rate.low) / rate.median:.0f} % "
                f"({rate.low:,.0f} to {rate.high:,.0f} images/s): free the machine, or raise --seconds"
            )
    share = row.share_of_ceiling
    if share is not None and share > 1 + SUSPECT_EXCESS:
        warnings.append(
            f"training came out at {100 * share:.0f} % of the model alone, which cannot be: "
            "the machine was busy in between; free it, or raise --seconds"
        )
    return tuple(warnings)


def _device_uuid(device: str) -> str | None:
    """The GPU's UUID as torch gives it, the GPU made current; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    # Whatever allocates without naming a device, such as a thread that pins memory, shall mean this one.
    torch.cuda.set_device(device)
    return str(torch.cuda.get_device_properties(torch.device(device)).uuid)


def _counted(batches: Iterator[Batch], ledger: Ledger) -> Iterator[Batch]:
    for batch in batches:
        ledger.add(batch.ids.numpy())
        yield batch


@dataclass
class _Opened:
    """A loader that runs, as a stream of ready batches, and when its opening began."""

    stream: LoaderStream
    begin_seconds: float


class _Measurement:
    """The phases of one plan share a model, a ledger and the count of epochs."""

    def __init__(self, plan: Plan, factory: LoaderFactory, tell: Tell) -> None:
        self._plan = plan
        self._factory = factory
        self._tell = tell
        self._clock = time.perf_counter
        self._device = torch.device(plan.work.device)
        self._options = build_options(factory, plan.options)
        # What workers may have ready: their prefetched batches and the one that each is at.
        self._made_ahead = (getattr(self._options, "prefetch", 2) + 1) * plan.work.workers
        self._ledger: Ledger | None = None
        self._next_epoch = 0

    def row(self) -> Row:
        torch.set_num_threads(usable_cores())
        plan = self._plan
        prepared = self._factory.prepare(plan.work, self._options, self._progress)
        work = prepared.work
        # A loader that repeats samples on purpose has nothing to be counted.
        self._ledger = None if self._factory.ceiling else Ledger(work.source.ids("train"))
        row = Row(
            loader=plan.loader,
            status="ok",
            decode=self._factory.decode(work, self._options),
            options=asdict(self._options),
            prepare=Preparation(prepared.seconds, prepared.bytes, prepared.folder),
        )
        if "load" in plan.phases:
            row = replace(row, load=self._load(work))
        if "model" in plan.phases:
            row = replace(row, model=self._model(work))
        if "train" in plan.phases:
            step = self._new_step(work)
            row = replace(row, train=self._train(work, step), loss=step.mean_loss())
            row = replace(row, train_steps=step.steps, train_images=step.images)
            row = self._judge(row, replace(work, split="val"), step)
        return replace(row, ledger=self._ledger_count(), warnings=(*row.warnings, *_warnings(row)))

    def _load(self, work: Work) -> Phase:
        with self._opened(work) as opened:
            # A GPU finishes batches behind the host's back; the passes wait for it at their end.
            return self._phase("load", opened.stream, lambda _: None, opened)

    def _model(self, work: Work) -> Phase:
        return self._phase("model", ReplayStream(self._whole_batches(work)), self._new_step(work))

    def _train(self, work: Work, step: TrainingStep) -> Phase:
        self._warm(work, step)
        with self._opened(work) as opened:
            return self._phase("train", opened.stream, step, opened)

    def _warm(self, work: Work, step: TrainingStep) -> None:
        """Meet both shapes of a batch before the loader starts.

        Tuning convolutions or compiling takes seconds, in which a loader would fill its queues, and an
        epoch's last batch would bring it into a measured pass.
        """
        batch = self._whole_batches(work)[0]
        step(batch)
        rest = len(work.source.ids("train")) % work.batch_size
        if rest:
            step(Batch(batch.images[:rest], batch.labels[:rest], batch.ids[:rest]))
        step.mean_loss()  # waits for the device

    def _whole_batches(self, work: Work) -> list[Batch]:
        """A few ready batches through the loader, which has ended when they are returned."""
        with self._factory.open(work, self._options) as loader:
            batches = list(islice(Feed(loader, work).epoch(0), REPLAYED_BATCHES))
        # An epoch's last batch may be smaller, and would flatter or slight the model.
        whole = [batch for batch in batches if len(batch.ids) == work.batch_size]
        if not whole:
            raise LoaderError(f"the loader's first batch is not one of {work.batch_size} images")
        return whole

    def _judge(self, row: Row, work: Work, step: TrainingStep) -> Row:
        """Top-1 accuracy on the held-out images, through the same loader."""
        if len(work.source.ids("val")) == 0:
            return replace(row, accuracy_reason="no image is held out: no class has two images or more")
        if self._factory.ceiling:
            return replace(row, accuracy_reason="trained on a few batches only: accuracy means nothing")
        self._tell(Doing("accuracy", 0, None))
        work = replace(work, batch_size=min(work.batch_size, len(work.source.ids("val"))))
        ledger = Ledger(work.source.ids("val"))
        ledger.begin(0)
        with self._factory.open(work, self._options) as loader:
            batches = _counted(Feed(loader, work).epoch(0), ledger)
            correct, images = top1_accuracy(step, batches)
        ledger.end()
        if images == 0:
            raise LoaderError("the loader yielded no image of the val split")
        held_out = ledger.count().worst
        if not held_out.exact:
            warning = (
                f"of {held_out.expected} held-out images {held_out.missing} are missing, "
                f"{held_out.duplicate} came again "
                f"and {held_out.unexpected} do not belong: the accuracy is that of what came"
            )
            row = replace(row, warnings=(*row.warnings, warning))
        return replace(row, accuracy=correct / images)

    def _phase(self, name: PhaseName, stream: Stream, step: Step, opened: _Opened | None = None) -> Phase:
        first_batch_seconds = None
        if opened is not None:
            first = opened.stream.pull()
            first_batch_seconds = self._clock() - opened.begin_seconds
            step(first.batch)
            del first  # its memory is free for a later batch
            opened.stream.settle(self._made_ahead)
        waiting = waiting_on(self._device)
        passes = run_passes(stream, step, waiting, self._plan.budget, self._clock, self._ticker(name))
        end = self._clock()
        self._tell(Measured(name, end - sum(one.seconds for one in passes), end))
        gap = None
        if opened is not None:
            opened.stream.finish()
            gap = opened.stream.epoch_gap_seconds
        return Phase(passes, first_batch_seconds, gap)

    def _ticker(self, name: PhaseName) -> Tick:
        """Progress, told at most ten times a second: telling costs time that is being measured."""
        told = self._clock()

        def tick(passes: float) -> None:
            nonlocal told
            if self._clock() - told >= TELL_INTERVAL_SECONDS:
                told = self._clock()
                self._tell(Doing(name, passes, self._plan.budget.repeats))

        return tick

    @contextmanager
    def _opened(self, work: Work) -> Iterator[_Opened]:
        begin = self._clock()
        with self._factory.open(work, self._options) as loader:
            stream = LoaderStream(Feed(loader, work), self._ledger, self._clock, self._next_epoch)
            try:
                yield _Opened(stream, begin)
            finally:
                self._next_epoch = stream.next_epoch

    def _new_step(self, work: Work) -> TrainingStep:
        """A fresh model, the same for every loader and phase of a seed."""
        torch.manual_seed(work.seed)
        family = load_model_family_for(self._plan.model)
        model = family.build(self._plan.model, len(work.source.classes), work.channels)
        return TrainingStep(model, StepSettings(self._device, work.compute_dtype, self._plan.compile))

    def _ledger_count(self) -> LedgerCount | None:
        if self._ledger is None:
            return None
        count = self._ledger.count()
        return count if count.epochs else None

    def _progress(self, text: str, done: float, total: float | None) -> None:
        self._tell(Doing(text, done, total))
