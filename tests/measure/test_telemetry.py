"""Samples are what the readers said; a summary is arithmetic on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager

import pytest

from throughput.measure.nvml import GpuReader, GpuReading
from throughput.measure.processes import TreeReading
from throughput.measure.telemetry import Sample, Summary, Telemetry, summarise

NEVER = 3600.0


def tree(cpu_seconds: float, rss_bytes: int = 100) -> TreeReading:
    return TreeReading(cpu_seconds, rss_bytes, frozenset({7, 8}))


def telemetry(*readings: TreeReading | None, **options: object) -> Telemetry:
    """Telemetry over given readings, at 0, 1, 2... seconds, whose thread never wakes by itself."""
    times, remaining = iter(range(100)), iter(readings)
    settings = {
        "interval_seconds": NEVER,
        "read_processes": lambda: next(remaining, None),
        "clock": lambda: float(next(times)),
        **options,
    }
    return Telemetry(7, **settings)  # type: ignore[arg-type]


def test_a_sample_on_entering_and_on_leaving() -> None:
    with telemetry(tree(1.0, 50), tree(2.5, 70)) as running:
        assert list(running.samples) == [Sample(0.0, 1.0, 50)]
    assert list(running.samples) == [Sample(0.0, 1.0, 50), Sample(1.0, 2.5, 70)]


def test_time_used_is_not_given_back() -> None:
    running = telemetry(tree(4.0), tree(3.0), tree(5.0))
    while running.sample():
        pass
    assert [sample.cpu_seconds for sample in running.samples] == [4.0, 4.0, 5.0]


def test_the_thread_samples_and_ends_when_the_process_is_gone() -> None:
    gone = threading.Event()
    readings = iter([tree(1.0), tree(2.0), tree(3.0)])

    def read() -> TreeReading | None:
        reading = next(readings, None)
        if reading is None:
            gone.set()
        return reading

    with Telemetry(7, interval_seconds=0.0, read_processes=read) as running:
        assert gone.wait(60)
    assert [sample.cpu_seconds for sample in running.samples] == [1.0, 2.0, 3.0]
    assert not any(thread.name == "telemetry" for thread in threading.enumerate())


def test_a_process_that_never_was() -> None:
    with telemetry() as running:
        pass
    assert running.samples == ()
    assert summarise(running.samples, 0.0, 10.0, 2) == Summary()


def test_the_gpu_is_read_for_the_tree_and_closed() -> None:
    told: list[object] = []

    @contextmanager
    def open_device(uuid: str) -> Iterator[GpuReader | None]:
        def read(pids: Set[int]) -> GpuReading:
            told.append(pids)
            return GpuReading(0.5, 0.25, 1000, 12.0)

        told.append(uuid)
        yield read
        told.append("closed")

    with telemetry(tree(1.0), tree(2.0), device_uuid="GPU-1", open_device=open_device) as running:
        pass
    assert told == ["GPU-1", {7, 8}, {7, 8}, "closed"]
    assert running.samples[0] == Sample(0.0, 1.0, 100, 0.5, 0.25, 1000, 12.0)


def test_a_gpu_that_cannot_be_opened_is_absent() -> None:
    @contextmanager
    def open_device(_uuid: str) -> Iterator[GpuReader | None]:
        yield None

    with telemetry(tree(1.0), device_uuid="GPU-1", open_device=open_device) as running:
        pass
    assert running.samples == (Sample(0.0, 1.0, 100),)


SAMPLES = (
    Sample(0.0, 0.0, 900, 1.0, None, 90, 0.0),
    Sample(1.0, 1.0, 100, 0.2, None, 10, 100.0),
    Sample(2.0, 2.0, 300, 0.4, None, None, 150.0),
    Sample(3.0, 4.0, 200, 0.9, None, 30, 300.0),
    Sample(4.0, 9.0, 900, 1.0, None, 90, 900.0),
)


def test_a_summary_keeps_to_its_window() -> None:
    found = summarise(SAMPLES, 0.5, 3.5, cores=2)
    assert found.cpu_utilisation == pytest.approx(3.0 / 2 / 2)
    assert found.peak_rss_bytes == 300
    assert found.gpu_utilisation == pytest.approx(0.5)
    assert found.jpeg_utilisation is None
    assert found.gpu_memory_bytes == 30
    # 200 J in the 2 s between samples: 300 J in the window's 3 s.
    assert found.energy_joules == pytest.approx(300.0)


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.5), (1.1, 1.9), (5.0, 9.0), (3.0, 1.0)])
def test_less_than_two_samples_say_nothing(start: float, end: float) -> None:
    assert summarise(SAMPLES, start, end, cores=2) == Summary()


def test_two_samples_at_the_same_moment_say_nothing() -> None:
    assert summarise((SAMPLES[0], SAMPLES[0]), 0.0, 1.0, cores=2) == Summary()


def test_a_summary_without_a_gpu() -> None:
    found = summarise((Sample(0.0, 0.0, 1), Sample(2.0, 2.0, 2)), 0.0, 2.0, cores=4)
    assert found == Summary(cpu_utilisation=0.25, peak_rss_bytes=2)
