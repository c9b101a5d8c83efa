"""One loader's measurement as its parent sees it: start the process, watch it, complete its row."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from throughput.contracts import Progress, no_progress
from throughput.measure.child import measuring
from throughput.measure.environment import usable_cores
from throughput.measure.events import Doing, Finished, Measured, Started
from throughput.measure.plan import Plan
from throughput.measure.telemetry import Sample, Telemetry, summarise
from throughput.results import Row


def measure(plan: Plan, progress: Progress = no_progress) -> Row:
    """Measure one loader in a fresh process and return its row, telemetry included."""
    telemetry: Telemetry | None = None
    windows: dict[str, Measured] = {}
    with ExitStack() as stack:
        pid, events = stack.enter_context(measuring(plan))
        for event in events:
            match event:
                case Started(device_uuid):
                    telemetry = stack.enter_context(Telemetry(pid, device_uuid))
                case Doing(text, done, total):
                    progress(f"{plan.loader}: {text}", done, total)
                case Measured(phase):
                    windows[phase] = event
                case Finished(row):
                    samples = telemetry.samples if telemetry is not None else ()
                    return _with_usage(row, samples, windows)
    raise AssertionError("measuring() ends with Finished")


def _with_usage(row: Row, samples: tuple[Sample, ...], windows: dict[str, Measured]) -> Row:
    """Utilisation while both ran together (or whatever ran); memory and its peak over the whole process."""
    window = next((windows[name] for name in ("train", "load", "model") if name in windows), None)
    if window is None or not samples:
        return row
    cores = usable_cores()
    busy = summarise(samples, window.start_seconds, window.end_seconds, cores)
    whole = summarise(samples, samples[0].time_seconds, samples[-1].time_seconds, cores)
    return replace(
        row,
        cpu_utilisation=busy.cpu_utilisation,
        gpu_utilisation=busy.gpu_utilisation,
        jpeg_utilisation=busy.jpeg_utilisation,
        energy_joules=busy.energy_joules,
        peak_rss_bytes=whole.peak_rss_bytes,
        gpu_memory_bytes=whole.gpu_memory_bytes,
    )
