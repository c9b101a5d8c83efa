"""Measured inference: the loader alone, the model alone, and both, for each loader or for each engine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from throughput.api import UNCERTIFIED
from throughput.comparison import compare_rounds
from throughput.contracts import Progress, Source, no_progress
from throughput.errors import OptionError
from throughput.inferred import Engine
from throughput.measure.budget import Budget
from throughput.measure.environment import environment, usable_cores
from throughput.measure.judge import judge
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Certification, Plan, describe_work, require_phases
from throughput.measure.rounds import Measure, measure_rounds
from throughput.measure.run import certify, measure
from throughput.measure.suggestions import Possible
from throughput.models.inference import Answering
from throughput.models.onnx_files import OnnxError, OnnxFile
from throughput.models.providers import require_provider
from throughput.results import PhaseName, Results, Row
from throughput.training.checkpoint import Subject, read, require_chosen
from throughput.training.judging import Judging, require_judgeable

_ALIKE = ("classes", "outputs", "channels", "image_size", "mean", "std", "crop")
"""What a file and a checkpoint of the same model have in common, whoever named it."""


@dataclass(frozen=True)
class Inference:
    """What is measured, and on what.

    file: the model. judging: the images and how they come; its loader is the first of ``loaders``.
    every: judge by all images, not by those held out. checkpoint: of the same model in torch, beside which
    the answers are judged. provider: as users name them, but not auto; chosen: why that one, where it was
    left to us. threads: of an operation on the CPU; None: the usable cores.
    """

    file: OnnxFile
    judging: Judging
    loaders: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    every: bool = False
    checkpoint: Path | None = None
    models: tuple[str, ...] = ()
    provider: str = "cpu"
    chosen: str | None = None
    threads: int | None = None
    cuda_graph: bool = False
    phases: tuple[PhaseName, ...] = ("load", "model", "train")
    budget: Budget = field(default_factory=Budget)
    certified: bool = True
    recertify: bool = False

    def __post_init__(self) -> None:
        require_provider(self.provider)
        require_phases(self.phases)
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"--threads must be 1 or more, got {self.threads}")
        if self.cuda_graph and self.provider != "cuda":
            raise OptionError("--cuda-graph needs --provider cuda")

    @property
    def answering(self) -> Answering:
        """The file in onnxruntime."""
        return Answering(
            self.file.for_source(self.judging.source),
            file=self.file.path,
            checkpoint=self.checkpoint,
            models=self.models,
            reference=None if self.checkpoint is None else "torch",
            provider=self.provider,
            threads=self.threads or usable_cores(),
            cuda_graph=self.cuda_graph,
            chosen=self.chosen,
            layout=self.file.layout,
        )

    def plan(self, loader: str, consumer: Answering, phases: tuple[PhaseName, ...] | None = None) -> Plan:
        """Every image is timed, made as held-out ones are; the accuracy is that of the held-out ones."""
        timed = self.judging.work(consumer.subject, every=True)
        return Plan(
            loader,
            replace(timed, source=self.judging.source, split="train"),
            str(self.file.path),
            dict(self.options.get(loader, {})),
            phases or self.phases,
            self.budget,
            consumer=consumer,
            judge_all=self.every,
        )


@dataclass(frozen=True)
class Arm:
    """One way to compute the same answers, under a name of its own."""

    name: str
    consumer: Answering


def infer(
    inference: Inference,
    progress: Progress = no_progress,
    on_results: Callable[[Results], None] = lambda _: None,
    go_on: Callable[[Results], bool] = lambda _: True,
    nursery: Nursery | None = None,
    measure_block: Measure = measure,
) -> Results:
    """A row for each loader, with its verdict. ``on_results`` is told the results so far after each block;
    ``go_on`` before each, and where it answers False that was all. ``nursery`` and
    ``measure_block`` are as for ``throughput.bench``.

    Raises a ThroughputError where nothing can be started.
    """
    subject = require_fit(inference)
    plans = [inference.plan(loader, inference.answering) for loader in inference.loaders]
    blank = _blank(inference, plans[0])
    possible = Possible(plans[0].work.compute_dtype, (), can_compile=False)
    with Nursery() if nursery is None else nullcontext(nursery) as running:
        certificates = {}
        for plan in plans:
            if inference.certified:
                progress(f"certifying {plan.loader}", 0, None)
                # What a certificate says does not depend on the size of a batch.
                judging = replace(inference.judging, batch_size=None)
                work = judging.training_work(subject, plan.work.augmentation, plan.work.seed)
                task = Certification(plan.loader, plan.options, work, True, inference.recertify)
                certificates[plan.loader] = certify(running, task, progress)

        def results_of(rows: Sequence[Row | None]) -> Results:
            told = [
                replace(row, certificate=certificates.get(row.loader, UNCERTIFIED))
                for row in rows
                if row is not None
            ]
            # A projection is of all images: they are what a pass goes through.
            work = blank.work | {"train_images": blank.work["images"]}
            judged = judge(replace(blank, rows=tuple(told), work=work), possible)
            return replace(judged, work=blank.work)

        results = blank

        def on_block(rows: tuple[Row | None, ...]) -> None:
            nonlocal results
            results = results_of(rows)
            on_results(results)

        measure_rounds(
            plans,
            running,
            progress,
            on_block,
            go_on=lambda _: go_on(results),
            measure_block=measure_block,
        )
    on_results(results)
    return results


def compare(inference: Inference, arms: Sequence[Arm], progress: Progress = no_progress) -> Results:
    """The model alone by each of the ways, in interleaved rounds, over batches of the first loader.

    Rows are in the order of ``arms``; comparisons name these, each against the first.
    """
    require_fit(inference)
    loader = inference.loaders[0]
    plans = [inference.plan(loader, arm.consumer, ("model",)) for arm in arms]
    with Nursery() as nursery:
        rows = measure_rounds(plans, nursery, progress)
    rates: dict[str, dict[PhaseName, list[float]]] = {
        arm.name: {"model": row.model.rates}
        for arm, row in zip(arms, rows, strict=True)
        if row.model is not None
    }
    blank = _blank(inference, plans[0])
    return replace(blank, rows=rows, comparisons=compare_rounds(rates, arms[0].name))


def torch_arm(inference: Inference, engine: Engine) -> Arm:
    """The same model in torch. Raises CheckpointError where a file would choose what code is run."""
    if inference.checkpoint is None:
        require_chosen(inference.file.path, inference.file.subject.model, inference.models)
    consumer = replace(inference.answering, engine=engine, file=None, reference=inference.file.path)
    return Arm(engine, consumer)


def file_arm(inference: Inference, file: Path, precision: str) -> Arm:
    """Another file of the same model."""
    reference = inference.file.path if file != inference.file.path else None
    return Arm(precision, replace(inference.answering, file=file, reference=reference))


def require_fit(inference: Inference) -> Subject:
    """The file's subject.

    Raises a ThroughputError where its classes are not the source's, or the checkpoint is of another model.
    """
    path = inference.file.path
    subject = inference.file.for_source(inference.judging.source)
    require_judgeable(path, subject, inference.judging.source, every=inference.every)
    if inference.checkpoint is not None:
        of_torch = read(inference.checkpoint, inference.models).subject
        for name in _ALIKE if inference.file.foreign else ("model", *_ALIKE):
            ours, theirs = getattr(subject, name), getattr(of_torch, name)
            if ours != theirs:
                raise OnnxError(
                    f"{path} has {name} {ours!r}, and {inference.checkpoint} has {theirs!r}: it was not "
                    "exported from this checkpoint, and its answers cannot be held against it"
                )
    return subject


def _blank(inference: Inference, plan: Plan) -> Results:
    source: Source = inference.judging.source
    return Results(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(sys.argv),
        environment=environment(),
        work=describe_work(plan)
        | {
            "activity": "inference",
            "provider": inference.provider,
            "images": len(source.labels),
            "train_images": len(source.ids("train")),
            "val_images": len(source.ids("val")),
        },
        rows=(),
    )
