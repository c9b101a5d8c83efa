"""From what is to be trained to results as the bench has them: one row, its epochs for passes."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from datetime import UTC, datetime

from throughput.cache import keep_compiled_code
from throughput.command_line import command_line
from throughput.contracts import Progress, no_progress
from throughput.measure.block import device_uuid
from throughput.measure.environment import environment, usable_cores
from throughput.measure.plan import Plan, describe_work
from throughput.measure.telemetry import Summary, Telemetry, summarise
from throughput.ranks.company import ALONE, Company
from throughput.ranks.merging import stragglers, with_usage
from throughput.ranks.sameness import require_same_work
from throughput.results import Preparation, Results, Row
from throughput.trained import Classification, Evaluation
from throughput.training.course import Training
from throughput.training.feeding import Feeding
from throughput.training.listening import Listener
from throughput.training.metrics import judge
from throughput.training.trainer import Trained, train


def run(
    training: Training,
    listener: Listener | None = None,
    progress: Progress = no_progress,
    company: Company = ALONE,
) -> Results:
    """Train, watched as a measurement is, and tell of it. Raises a ThroughputError.

    company: the ranks that train together; each gets the same results.
    """
    keep_compiled_code()
    if company.size > 1:
        require_same_work(company, describe_work(_plan(training)))
    with Telemetry(os.getpid(), device_uuid(training.work.device)) as telemetry:
        begin = time.perf_counter()
        with company.group("training", training.work.device) as group:
            trained = train(training, listener, progress, company=group)
        telemetry.sample()
        used = summarise(telemetry.samples, begin, time.perf_counter(), usable_cores())
    rows = company.everyone(row(training, trained, used))
    return results(training, rows[0] if len(rows) == 1 else with_usage(rows[0], rows))


def _plan(training: Training) -> Plan:
    return Plan(training.loader, training.work, training.model, phases=("train",), compile=training.compile)


def results(training: Training, *rows: Row) -> Results:
    """The rows with what they are of, and where they were made."""
    described = describe_work(_plan(training))
    del described["budget"]  # training ends with its epochs
    return Results(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
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
        ranks=trained.ranks,
        warnings=stragglers(trained.ranks),
        evaluation=None if metrics is None else Evaluation(subject, work.source.classes, metrics),
    )
