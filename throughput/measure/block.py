"""One round of one loader in this process: a pass alone, a pass of the model alone, a pass of both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice

import torch

from throughput.contracts import Batch, LoaderFactory, Work
from throughput.dead_workers import is_a_death, why_died
from throughput.errors import (
    WAYS_ON,
    LoaderError,
    SampleError,
    SourceError,
    ThroughputError,
    UnknownNameError,
)
from throughput.measure.budget import Budget
from throughput.measure.consumer import Consuming
from throughput.measure.environment import usable_cores
from throughput.measure.events import Doing, Finished, Measured, Opened, Started, Tell
from throughput.measure.labels import Labels
from throughput.measure.learning import Learning
from throughput.measure.ledger import Ledger
from throughput.measure.network import Network
from throughput.measure.phases import Step, Tick, run_epoch, run_passes
from throughput.measure.plan import PHASES, Block
from throughput.measure.plausible import implausible
from throughput.measure.stages import time_stages
from throughput.measure.stoppable import RunningClock
from throughput.measure.storage import Storage
from throughput.measure.stream import HasEpochs, LoaderStream, ReplayStream, Stream
from throughput.measure.waiting import waiting_on
from throughput.options import build_options
from throughput.ranks.company import Company, joined
from throughput.ranks.ledgers import LedgerOfAll
from throughput.registry import load_loader, missing_requirements
from throughput.results import LedgerCount, Phase, PhaseName, Preparation, Row
from throughput.sources.splits import all_held_out

REPLAYED_BATCHES = 2
TELL_INTERVAL_SECONDS = 0.1


def measure_block(block: Block, tell: Tell) -> None:
    """Carry out a block and tell of it; the last event is Finished, whatever went wrong."""
    plan = block.plan
    try:
        tell(Started(device_uuid(plan.work.device)))
        try:
            factory = load_loader(plan.loader)
        except UnknownNameError as error:
            # It is registered, or the parent would have refused it: its own package is broken.
            tell(Finished(Row(str(plan.loader), "skipped", str(error))))
            return
        reason = _why_not(factory, plan.work)
        if reason is not None:
            tell(Finished(Row(str(plan.loader), "skipped", reason)))
            return
        with joined(block.group, plan.work.device) as company:
            tell(Finished(_Measurement(block, factory, tell, company).row()))
    except ThroughputError as error:
        bad_input = not isinstance(error, LoaderError)
        reason = f"{error}; {WAYS_ON}" if isinstance(error, SampleError) else str(error)
        tell(Finished(Row(str(plan.loader), "failed", reason, bad_input)))
    except Exception as error:  # noqa: BLE001 - a backend may fail in any way, and its row must say so
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        if is_a_death(error):
            cause = f"a worker process died: {why_died(str(error))}"
        tell(Finished(Row(str(plan.loader), "failed", cause)))


def _why_not(factory: LoaderFactory, work: Work) -> str | None:
    """Why this loader cannot do this work here, or None."""
    missing = missing_requirements(factory)
    if missing:
        return "; ".join(f"{requirement.module} is missing: {requirement.install}" for requirement in missing)
    return factory.why_not(work)


def device_uuid(device: str) -> str | None:
    """The GPU's UUID as torch gives it, the GPU made current; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    # Whatever allocates without naming a device, such as a thread that pins memory, shall mean this one.
    torch.cuda.set_device(device)
    return str(torch.cuda.get_device_properties(torch.device(device)).uuid)


def _counted(feed: HasEpochs, ledger: Ledger) -> Iterator[Batch]:
    for batch in feed.epoch(0):
        ledger.add_batch(batch)
        yield batch
    ledger.add_faults(feed.take_faults())


def _as_held_out(work: Work) -> Work:
    """Every image, made as held-out ones are; those that are held out, where a source cannot be split so."""
    try:
        return replace(work, source=all_held_out(work.source), split="val")
    except SourceError:
        return replace(work, split="val")


@dataclass
class _Opened:
    """A loader that runs, as a stream of ready batches, and when its opening began."""

    stream: LoaderStream
    begin_seconds: float
    samples_per_epoch: int


class _Measurement:
    """The phases of one block share a model, a ledger and the count of epochs."""

    def __init__(self, block: Block, factory: LoaderFactory, tell: Tell, company: Company) -> None:
        self._block = block
        self._company = company
        self._plan = block.plan
        self._factory = factory
        self._tell = tell
        self._clock = time.perf_counter if block.clock is None else RunningClock(block.clock)
        self._device = torch.device(self._plan.work.device)
        self._options = build_options(factory, self._plan.options)
        # What workers may have ready: their prefetched batches and the one that each is at.
        self._made_ahead = (getattr(self._options, "prefetch", 2) + 1) * self._plan.work.workers
        self._ledger: Ledger | None = None
        self._next_epoch = block.first_epoch
        self._budget = replace(self._plan.budget, repeats=1)
        self._consumer = self._plan.consumer or Learning(self._plan.model, self._plan.compile)

    def row(self) -> Row:
        torch.set_num_threads(usable_cores())
        plan = self._plan
        with self._company.first_on_each_machine():
            prepared = self._factory.prepare(plan.work, self._options, self._progress)
        if plan.cache == "cold" and ("load" in plan.phases or "train" in plan.phases):
            self._rehearse(prepared.work)
        network = Network(prepared.work, self._block.state.with_suffix(f".{self._block.number}.requests"))
        prepared = replace(prepared, work=network.work)
        # A loader converts for training, and the copy holds both splits.
        work = prepared.work if plan.consumer is None else _as_held_out(prepared.work)
        storage = Storage(work.source, plan.cache, self._progress)
        # A loader that repeats samples on purpose has nothing to be counted.
        expected = work.source.ids(work.split) if self._factory.takes_work else None
        labels = Labels(work.source.labels) if self._factory.takes_work else None
        several = self._company.size > 1
        self._ledger = None if self._factory.ceiling else Ledger(expected, labels, keeps_seen=several)
        row = Row(
            loader=str(plan.loader),
            status="ok",
            decode=self._factory.decode(work, self._options),
            options=asdict(self._options),
            prepare=Preparation(prepared.seconds, prepared.bytes, prepared.folder),
            warnings=() if prepared.warning is None else (prepared.warning,),
        )
        if "load" in plan.phases:
            row = replace(row, load=self._load(work, storage))
        if "model" in plan.phases or "train" in plan.phases:
            batches, samples_per_epoch = self._whole_batches(work)
            if not self._factory.takes_work and plan.consumer is None:
                row = replace(row, warnings=(*row.warnings, *implausible(batches, work, samples_per_epoch)))
            model = self._consumer.start(work, batches, takes_work=self._factory.takes_work)
            self._warm(work, model, batches[0])
            if "model" in plan.phases:
                row = replace(row, model=self._phase("model", ReplayStream(batches), model))
                row = model.told(row, "model")
            del batches
            if "train" in plan.phases:
                model.begin(self._block.state)
                row = model.told(replace(row, train=self._run("train", work, model, storage)), "train")
            if "train" in plan.phases and not self._block.last:
                model.leave(self._block.state)
            judges = self._block.last and ("train" in plan.phases or plan.consumer is not None)
            if judges and self._company.rank == 0:
                judged = work if plan.judge_all else replace(prepared.work, split="val")
                judged = replace(judged, rank=0, world_size=1)
                row = self._judge(row, judged, model)
        # Without all phases no verdict asks for them, and they are those of train crops.
        if self._block.last and set(plan.phases) == set(PHASES) and work.split == "train":
            row = self._with_stages(row, work)
        return replace(
            row,
            ledger=self._ledger_count(),
            cache=storage.evidence(),
            remote=network.reading(),
            warnings=(*row.warnings, *network.warnings()),
        )

    def _with_stages(self, row: Row, work: Work) -> Row:
        """Where the loader's time goes; a loader that cannot tell has been measured all the same."""
        self._tell(Doing("stages", 0, None))
        try:
            return replace(row, stages=time_stages(self._factory, self._options, work))
        except Exception as error:  # noqa: BLE001 - a backend may fail in any way
            warning = f"its stages could not be timed: {type(error).__name__}: {error}"
            return replace(row, warnings=(*row.warnings, " ".join(warning.split())))

    def _rehearse(self, work: Work) -> None:
        """Take a batch: what this process compiles or loads at first use is no reading of a device."""
        self._tell(Doing("a rehearsal, from any cache", 0, None))
        with self._factory.open(work, self._options) as loader:
            next(self._consumer.feed(loader, work).epoch(0), None)
        work.source.forget()  # nor may it be fetching ahead still

    def _load(self, work: Work, storage: Storage) -> Phase:
        # A GPU finishes batches behind the host's back; the pass waits for it at its end.
        return self._run("load", work, lambda _: None, storage)

    def _run(self, name: PhaseName, work: Work, step: Step, storage: Storage) -> Phase:
        """A pass over a loader: from a cold cache from its opening on, else once it runs steadily."""
        if storage.mode != "cold":
            storage.warm()
            with self._opened(work) as opened:
                return self._phase(name, opened.stream, step, opened)
        first_epoch = self._next_epoch
        with storage.cold() as delivered:
            cold = self._epoch(name, work, step, self._budget)
            delivered(cold.passes[0].images)
        # The same batches from a cache that is warm now: what they took longer cold, the device took.
        again = replace(self._budget, steps=len(cold.passes[0].batch_wait_seconds))
        next_epoch, self._next_epoch = self._next_epoch, first_epoch
        storage.compare(name, cold, self._epoch(name, work, step, again, counted=False))
        self._next_epoch = next_epoch
        return cold

    def _epoch(
        self, name: PhaseName, work: Work, step: Step, budget: Budget, *, counted: bool = True
    ) -> Phase:
        """A pass from the opening of the loader to the end of an epoch, or of the budget."""
        ledger = self._ledger
        if not counted:
            self._ledger = None
        with self._opened(work) as opened:
            self._ledger = ledger
            waiting = waiting_on(self._device)
            samples = opened.samples_per_epoch
            first_batch_seconds: list[float] = []

            def noted(batch: Batch) -> object:
                if not first_batch_seconds:
                    first_batch_seconds.append(self._clock() - opened.begin_seconds)
                return step(batch)

            one = run_epoch(opened.stream, noted, waiting, budget, self._clock, opened.begin_seconds, samples)
            if counted:
                self._tell(Measured(name, self._clock() - one.seconds, self._clock()))
            opened.stream.finish()
        return Phase((one,), first_batch_seconds[0])

    def _warm(self, work: Work, model: Consuming, batch: Batch) -> None:
        """Meet both shapes of a batch before the loader starts.

        Tuning convolutions or compiling takes seconds, in which a loader would fill its queues, and an
        epoch's last batch would bring it into a measured pass.
        """
        model(batch)
        rest = -(-len(work.source.ids(work.split)) // work.world_size) % work.batch_size
        if rest:
            model(Batch(batch.images[:rest], batch.labels[:rest], batch.ids[:rest]))
        model.wait()

    def _whole_batches(self, work: Work) -> tuple[list[Batch], int]:
        """A few ready batches through the loader, which has ended when they are returned, and its epoch."""
        # A batch that lacks its bad samples, as an epoch's last one that is smaller, would flatter or slight
        # the model.
        if work.on_error == "skip":
            work = replace(work, on_error="substitute")
        with self._factory.open(work, self._options) as loader:
            batches = list(islice(self._consumer.feed(loader, work).epoch(0), REPLAYED_BATCHES))
            samples_per_epoch = loader.samples_per_epoch
        whole = [batch for batch in batches if len(batch.ids) == work.batch_size]
        if not whole:
            raise LoaderError(f"the loader's first batch is not one of {work.batch_size} images")
        return whole, samples_per_epoch

    def _judge(self, row: Row, work: Work, model: Consuming) -> Row:
        """How good the answers for the held-out images of a work are, through the same loader."""
        if not self._factory.takes_work:
            return replace(row, accuracy_reason="this pipeline does not say which images it holds out")
        if len(work.source.ids("val")) == 0:
            return replace(row, accuracy_reason="no image is held out: no class has two images or more")
        if self._factory.ceiling:
            return replace(row, accuracy_reason="it repeats a few batches: accuracy means nothing")
        self._tell(Doing("accuracy", 0, None))
        on_error = "skip" if work.on_error == "substitute" else work.on_error
        work = replace(
            work, batch_size=min(work.batch_size, len(work.source.ids("val"))), on_error=on_error
        )  # a stand-in would be judged twice
        ledger = Ledger(work.source.ids("val"), Labels(work.source.labels))
        ledger.begin(0)
        with self._factory.open(work, self._options) as loader:
            row = model.judge(row, _counted(self._consumer.feed(loader, work), ledger))
        if row.accuracy_reason is not None:
            return row  # the model has nothing to be judged by, and looked at no image
        ledger.end()
        count = ledger.count()
        held_out = count.worst if ledger.known else None
        if held_out is not None and not count.exact:
            warning = (
                f"of {held_out.expected} held-out images {held_out.missing} are missing, "
                f"{held_out.duplicate} came again, {held_out.unexpected} do not belong "
                f"and {count.mislabelled} have a wrong label: the accuracy is that of what came"
            )
            row = replace(row, warnings=(*row.warnings, warning))
        return replace(row, held_out_ledger=count if ledger.known else None)

    def _phase(self, name: PhaseName, stream: Stream, step: Step, opened: _Opened | None = None) -> Phase:
        first_batch_seconds = None
        if opened is not None:
            first = opened.stream.pull()
            first_batch_seconds = self._clock() - opened.begin_seconds
            step(first.batch)
            del first  # its memory is free for a later batch
        if self._block.clock is not None:
            self._tell(Opened())
        if opened is not None:
            opened.stream.settle(self._made_ahead)
        waiting = waiting_on(self._device)
        # With a number of steps given, all ranks take as many. Their loaders alone need not keep in step.
        pace = self._company.pace(in_step=name != "load" and self._budget.steps is None)
        passes = run_passes(stream, step, waiting, self._budget, self._clock, self._ticker(name), pace)
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
                self._tell(Doing(name, passes, 1))

        return tick

    @contextmanager
    def _opened(self, work: Work) -> Iterator[_Opened]:
        begin = self._clock()
        with self._factory.open(work, self._options) as loader:
            stream = LoaderStream(
                self._consumer.feed(loader, work), self._ledger, self._clock, self._next_epoch
            )
            try:
                yield _Opened(stream, begin, loader.samples_per_epoch)
            finally:
                self._next_epoch = stream.next_epoch

    def _ledger_count(self) -> LedgerCount | None:
        if self._ledger is None:
            return None
        count = LedgerOfAll(self._ledger, self._company).count()
        return count if count.epochs else None

    def _progress(self, text: str, done: float, total: float | None) -> None:
        self._tell(Doing(text, done, total))
