"""From what is to be trained to results as the bench has them: one row, its epochs for passes."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

from throughput.contracts import Progress, no_progress
from throughput.measure.block import device_uuid
from throughput.measure.environment import environment, usable_cores
from throughput.measure.plan import Plan, describe_work
from throughput.measure.telemetry import Summary, Telemetry, summarise
from throughput.results import Preparation, Results, Row
from throughput.trained import Classification, Evaluation
from throughput.training.course import Training
from throughput.training.feeding import Feeding
from throughput.training.listening import Listener
from throughput.training.metrics import judge
from throughput.training.trainer import Trained, train


def run(training: Training, listener: Listener | None = None, progress: Progress = no_progress) -> Results:
    """Train, watched as a measurement is, and tell of it. Raises a ThroughputError."""
    with Telemetry(os.getpid(), device_uuid(training.work.device)) as telemetry:
        begin = time.perf_counter()
        trained = train(training, listener, progress)
        telemetry.sample()
        used = summarise(telemetry.samples, begin, time.perf_counter(), usable_cores())
    return results(training, row(training, trained, used))


def results(training: Training, *rows: Row) -> Results:
    """The rows with what they are of, and where they were made."""
    work = training.work
    plan = Plan(training.loader, work, training.model, phases=("train",), compile=training.compile)
    described = describe_work(plan)
    del described["budget"]  # training ends with its epochs
    return Results(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(sys.argv),
        environment=environment(),
        work=described,
        rows=rows,
    )


def row(training: Training, trained: Trained, used: Summary) -> Row:
    """The loader's row."""
    work = training.work
    feeding = Feeding.by(training.loader, training.options, work)
    metrics = None if trained.predictions is None else judge(trained.predictions)
    accuracy = metrics.top1 if isinstance(metrics, Classification) else None
    reason = None
    if accuracy is None:
        reason = "no image is held out" if metrics is None else "these labels are numbers, not classes"
    subject = f"{training.model} after epoch {trained.run.judged_epoch + 1}"
    return Row(
        loader=training.loader,
        status="ok",
        decode=feeding.factory.decode(trained.prepared.work, feeding.options),
        options=asdict(feeding.options),
        prepare=Preparation(trained.prepared.seconds, trained.prepared.bytes, trained.prepared.folder),
        train=trained.phase,
        accuracy=accuracy,
        accuracy_reason=reason,
        train_steps=trained.steps,
        train_images=trained.images,
        loss=trained.run.epochs[-1].loss,
        gpu_utilisation=used.gpu_utilisation,
        jpeg_utilisation=used.jpeg_utilisation,
        cpu_utilisation=used.cpu_utilisation,
        peak_rss_bytes=used.peak_rss_bytes,
        gpu_memory_bytes=used.gpu_memory_bytes,
        energy_joules=used.energy_joules,
        ledger=trained.ledger,
        held_out_ledger=trained.held_out_ledger,
        training=trained.run,
        evaluation=None if metrics is None else Evaluation(subject, work.source.classes, metrics),
    )
