"""What a measured process uses meanwhile: CPU, memory, GPU. Sampled from outside, by its parent.

The measured process runs none of this, so its interpreter lock is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import pairwise
from threading import Event, Thread

from throughput.measure.nvml import GpuReader, GpuReading, open_gpu
from throughput.measure.processes import ProcessTree, TreeReading
from throughput.results import Usage


@dataclass(frozen=True)
class Sample:
    """The process tree and its GPU at one moment.

    time_seconds: ``time.perf_counter``, on Linux the same clock in all processes (CLOCK_MONOTONIC).
    cpu_seconds: CPU time that the tree has used so far; never less than in the sample before.
    rss_bytes: resident memory of the tree's processes; a page that forked workers share counts in each.
    gpu_utilisation: 0..1, share of NVML's last sample period in which any kernel ran: coarse.
    jpeg_utilisation: 0..1, the same of the GPU's JPEG engine.
    gpu_memory_bytes: of the tree where the driver tells, else what the device uses more than at the start.
    energy_joules: of the whole GPU, from an arbitrary start.
    """

    time_seconds: float
    cpu_seconds: float
    rss_bytes: int
    gpu_utilisation: float | None = None
    jpeg_utilisation: float | None = None
    gpu_memory_bytes: int | None = None
    energy_joules: float | None = None


@dataclass(frozen=True)
class Summary:
    """Usage over a window of time; None where it could not be measured.

    cpu_utilisation: 0..1 of the usable cores. gpu_utilisation and jpeg_utilisation: mean, 0..1.
    peak_rss_bytes and gpu_memory_bytes: highest. energy_joules: of the whole GPU over the whole window.
    """

    cpu_utilisation: float | None = None
    peak_rss_bytes: int | None = None
    gpu_utilisation: float | None = None
    jpeg_utilisation: float | None = None
    gpu_memory_bytes: int | None = None
    energy_joules: float | None = None


class Telemetry:
    """Samples the process ``pid`` and its descendants, in a thread, from entering the context to leaving it.

    device_uuid: the GPU to sample as well; None for a run on the CPU.
    read_processes, open_device, clock: what is asked for numbers, replaceable for tests.
    Nothing here fails for lack of a GPU, a driver or /proc: there are fewer numbers then. Sampling
    ends by itself when the process is gone.
    """

    def __init__(
        self,
        pid: int,
        device_uuid: str | None = None,
        interval_seconds: float = 0.25,
        *,
        read_processes: Callable[[], TreeReading | None] | None = None,
        open_device: Callable[[str], AbstractContextManager[GpuReader | None]] = open_gpu,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._device_uuid = device_uuid
        self._interval_seconds = interval_seconds
        self._read_processes = read_processes or ProcessTree(pid)
        self._open_device = open_device
        self._clock = clock
        self._read_gpu: GpuReader | None = None
        self._samples: list[Sample] = []
        self._stop = Event()
        self._thread = Thread(target=self._run, name="telemetry", daemon=True)
        self._opened = ExitStack()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples so far, oldest first."""
        return tuple(self._samples)

    def __enter__(self) -> Telemetry:
        if self._device_uuid is not None:
            self._read_gpu = self._opened.enter_context(self._open_device(self._device_uuid))
        self.sample()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self.sample()
        self._opened.close()

    def sample(self) -> bool:
        """Take one sample; False if the process is gone."""
        now = self._clock()
        tree = self._read_processes()
        if tree is None:
            return False
        gpu = self._read_gpu(tree.pids) if self._read_gpu else GpuReading()
        # A worker that ends between two reads can be missed for one of them: time used is not given back.
        used_before = self._samples[-1].cpu_seconds if self._samples else 0.0
        self._samples.append(
            Sample(
                time_seconds=now,
                cpu_seconds=max(used_before, tree.cpu_seconds),
                rss_bytes=tree.rss_bytes,
                gpu_utilisation=gpu.utilisation,
                jpeg_utilisation=gpu.jpeg_utilisation,
                gpu_memory_bytes=gpu.memory_bytes,
                energy_joules=gpu.energy_joules,
            )
        )
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            if not self.sample():
                return


def summarise(samples: Sequence[Sample], start_seconds: float, end_seconds: float, cores: float) -> Summary:
    """Usage in start_seconds <= time <= end_seconds, of ``cores`` usable cores; all None below two samples.

    CPU time and energy are rates between the window's first and last sample, so that a window is not
    understated for starting and ending between samples.
    """
    inside = [sample for sample in samples if start_seconds <= sample.time_seconds <= end_seconds]
    if len(inside) < 2 or inside[-1].time_seconds == inside[0].time_seconds:
        return Summary()
    first, last = inside[0], inside[-1]
    sampled_seconds = last.time_seconds - first.time_seconds
    energy_joules = None
    if first.energy_joules is not None and last.energy_joules is not None:
        watts = (last.energy_joules - first.energy_joules) / sampled_seconds
        energy_joules = watts * (end_seconds - start_seconds)
    return Summary(
        cpu_utilisation=(last.cpu_seconds - first.cpu_seconds) / sampled_seconds / cores,
        peak_rss_bytes=max(sample.rss_bytes for sample in inside),
        gpu_utilisation=_mean(sample.gpu_utilisation for sample in inside),
        jpeg_utilisation=_mean(sample.jpeg_utilisation for sample in inside),
        gpu_memory_bytes=max(
            (s.gpu_memory_bytes for s in inside if s.gpu_memory_bytes is not None), default=None
        ),
        energy_joules=energy_joules,
    )


def usage(samples: Sequence[Sample], cores: float) -> tuple[Usage, ...]:
    """What was used from one sample to the next, of ``cores`` usable cores; nothing below two samples."""
    return tuple(
        Usage(
            time_seconds=after.time_seconds,
            cpu_utilisation=(after.cpu_seconds - before.cpu_seconds)
            / (after.time_seconds - before.time_seconds)
            / cores,
            rss_bytes=after.rss_bytes,
            gpu_utilisation=after.gpu_utilisation,
        )
        for before, after in pairwise(samples)
        if after.time_seconds > before.time_seconds
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
