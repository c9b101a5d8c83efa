"""One task as its parent sees it: run it in a fresh process, watch it, complete what it found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from throughput.contracts import Progress, no_progress
from throughput.errors import ThroughputError
from throughput.measure.disturbance import Snapshot, disturbances, take_snapshot
from throughput.measure.environment import usable_cores
from throughput.measure.events import Doing, Finished, Measured, Opened, Started
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Block, Certification
from throughput.measure.telemetry import Sample, Telemetry, summarise, usage
from throughput.options import build_options
from throughput.registry import load_loader
from throughput.results import Certificate, PhaseName, Row, Timeline, Window


@dataclass(frozen=True)
class Observed:
    """row: telemetry included. before, after: the machine on both sides; None unless the row is ok.

    own_cpu_seconds: what the measured processes and the harness used in between.
    """

    row: Row
    before: Snapshot | None = None
    after: Snapshot | None = None
    own_cpu_seconds: float = 0.0

    def disturbances(self, cpu_seconds: float, cores: int) -> tuple[str, ...]:
        """What disturbed it, in words. cpu_seconds: of all that was measured there. cores: it may use."""
        if self.before is None or self.after is None:
            return ()
        return disturbances(self.before, self.after, cpu_seconds, cores)


def measure(nursery: Nursery, block: Block, progress: Progress = no_progress) -> Row:
    """Measure one round of one loader and return it, telemetry and disturbances included."""
    seen = observe(nursery, block, progress)
    noticed = seen.disturbances(seen.own_cpu_seconds, usable_cores())
    return replace(seen.row, warnings=(*seen.row.warnings, *noticed))


def observe(
    nursery: Nursery,
    block: Block,
    progress: Progress = no_progress,
    started: Callable[[int], None] = lambda _: None,
    opened: Callable[[int], None] = lambda _: None,
    measured: Callable[[], None] = lambda: None,
) -> Observed:
    """Measure one round of one loader.

    started, opened: told the pid of the process, which leads its own group; the latter where the block has a
    clock, before anything is measured. As such a process stands still now and then, nothing is said of what
    it used. measured: told when a phase has been.
    """
    telemetry: Telemetry | None = None
    windows: dict[PhaseName, Measured] = {}
    with ExitStack() as stack:
        pid, events = stack.enter_context(nursery.running(block))
        started(pid)
        before = take_snapshot()
        for event in events:
            match event:
                case Opened():
                    opened(pid)
                case Started(device_uuid) if block.clock is None:
                    before = take_snapshot()
                    telemetry = stack.enter_context(Telemetry(pid, device_uuid))
                case Doing(text, done, total):
                    progress(text, done, total)
                case Measured(phase):
                    windows[phase] = event
                    measured()
                case Finished(Row() as row):
                    # By its name alone it came back; with it goes what a given one carries.
                    row = replace(row, loader=block.plan.loader)
                    if telemetry is None or row.status != "ok":
                        return Observed(row)
                    telemetry.sample()
                    samples = telemetry.samples
                    passes = tuple(
                        Window(one.phase, one.start_seconds, one.end_seconds) for one in windows.values()
                    )
                    row = replace(row, timeline=Timeline(passes, usage(samples, usable_cores())))
                    own_cpu_seconds = samples[-1].cpu_seconds - samples[0].cpu_seconds
                    row = _with_usage(row, samples, windows)
                    return Observed(row, before, take_snapshot(), own_cpu_seconds)
    raise AssertionError("a task ends with Finished")


def certify(nursery: Nursery, task: Certification, progress: Progress = no_progress) -> Certificate:
    """Certify a loader in a fresh process, or find what an earlier run has kept."""
    if (kept := _kept(task)) is not None:
        return kept
    with nursery.running(task) as (_, events):
        for event in events:
            match event:
                case Doing(text, done, total):
                    progress(text, done, total)
                case Finished(Certificate() as certificate):
                    return certificate
    raise AssertionError("a task ends with Finished")


def _kept(task: Certification) -> Certificate | None:
    """A kept certificate, for which no process is started: that would take seconds.

    But where it is of a GPU, which this process leaves alone; that process looks for it.
    """
    if task.recertify or task.work.device != "cpu":
        return None
    from throughput.certificate import kept_certificate  # imports torch

    with suppress(ThroughputError):  # that process meets it again, and tells of it
        factory = load_loader(task.loader)
        options = build_options(factory, task.options)
        return kept_certificate(factory, task.loader, options, task.work, data=task.data)
    return None


def _with_usage(row: Row, samples: tuple[Sample, ...], windows: dict[PhaseName, Measured]) -> Row:
    """Utilisation while both ran together (or whatever ran); memory and its peak over the whole process."""
    window = next((windows[name] for name in ("train", "load", "model") if name in windows), None)
    if window is None:
        return row
    cores = usable_cores()
    busy = summarise(samples, window.start_seconds, window.end_seconds, cores)
    whole = summarise(samples, samples[0].time_seconds, samples[-1].time_seconds, cores)
    alone = {
        name: summarise(samples, each.start_seconds, each.end_seconds, cores).cpu_utilisation
        for name, each in windows.items()
    }
    return replace(
        row,
        cpu_utilisation=busy.cpu_utilisation,
        load_cpu_utilisation=alone.get("load"),
        model_cpu_utilisation=alone.get("model"),
        gpu_utilisation=busy.gpu_utilisation,
        jpeg_utilisation=busy.jpeg_utilisation,
        energy_joules=busy.energy_joules,
        peak_rss_bytes=whole.peak_rss_bytes,
        gpu_memory_bytes=whole.gpu_memory_bytes,
    )
