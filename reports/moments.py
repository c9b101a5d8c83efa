"""What went on when, on one clock for all rows of a run: passes, what was used, and how long was waited."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from throughput.measure.plan import PHASES
from throughput.reports.measures import phases
from throughput.reports.tellable import Run
from throughput.results import Pass, PhaseName, Row, Usage

SHORTEST_BIN_SECONDS = 0.25
_MOST_BINS = 600
"""In a long run, bins are longer: a chart has no room for more."""
_SILENCE_SECONDS = 1.0
_SILENCE_BINS = 4
"""A pause that is longer than either lies between two rounds, and no line crosses it."""


@dataclass(frozen=True)
class Stretch:
    """A pass of a row, in seconds from the start of the run, and what was used in it, 0..1, in the mean."""

    series: str
    phase: PhaseName
    start_seconds: float
    end_seconds: float
    measured: Pass
    cpu_utilisation: float | None
    gpu_utilisation: float | None

    @property
    def wait_fraction(self) -> float:
        """Share of the pass that went by waiting for a batch, 0..1."""
        return self.measured.wait_seconds / self.measured.seconds


@dataclass(frozen=True)
class Moment:
    """A value, 0..1, at a time from the start of the run. Moments of one segment follow each other."""

    series: str
    segment: str
    seconds: float
    value: float


@dataclass(frozen=True)
class History:
    """All that is known about when what went on. bin_seconds: over which waiting was averaged."""

    stretches: tuple[Stretch, ...]
    cpu: tuple[Moment, ...]
    gpu: tuple[Moment, ...]
    waiting: tuple[Moment, ...]
    bin_seconds: float
    end_seconds: float


def history(run: Run) -> History | None:
    """None where no row has a timeline."""
    rows = [(name, row) for name, row in run.rows if row.timeline is not None and _times(row)]
    if not rows:
        return None
    start = min(time for _, row in rows for time in _times(row))
    end = max(time for _, row in rows for time in _times(row)) - start
    width = max(SHORTEST_BIN_SECONDS, end / _MOST_BINS)
    stretches = tuple(one for name, row in rows for one in _stretches(name, row, start))
    return History(
        stretches=tuple(sorted(stretches, key=lambda one: one.start_seconds)),
        cpu=tuple(one for name, row in rows for one in _used(name, row, start, width, gpu=False)),
        gpu=tuple(one for name, row in rows for one in _used(name, row, start, width, gpu=True)),
        waiting=tuple(
            one
            for place, stretch in enumerate(stretches)
            if stretch.phase == "train"
            for one in _waited(stretch, f"{place}", width)
        ),
        bin_seconds=width,
        end_seconds=end,
    )


def _times(row: Row) -> list[float]:
    """Of all that the timeline holds."""
    if row.timeline is None:
        return []
    of_windows = [time for one in row.timeline.windows for time in (one.start_seconds, one.end_seconds)]
    return [
        time
        for time in (*of_windows, *(one.time_seconds for one in row.timeline.usage))
        if math.isfinite(time)
    ]


def _stretches(name: str, row: Row, origin: float) -> Iterator[Stretch]:
    assert row.timeline is not None
    for phase in PHASES:
        windows = [one for one in row.timeline.windows if one.phase == phase]
        found = phases(row).get(phase)
        for window, measured in zip(windows, () if found is None else found.passes, strict=False):
            # A window may begin with a warm-up; the pass ends with it.
            begin, end = window.end_seconds - measured.seconds, window.end_seconds
            if not math.isfinite(begin):
                continue
            inside = [one for one in row.timeline.usage if begin < one.time_seconds <= end]
            yield Stretch(
                name,
                phase,
                begin - origin,
                end - origin,
                measured,
                _mean([one.cpu_utilisation for one in inside]),
                _mean([one.gpu_utilisation for one in inside if one.gpu_utilisation is not None]),
            )


def _used(name: str, row: Row, origin: float, width: float, *, gpu: bool) -> Iterator[Moment]:
    """Usage, averaged over bins where there are more samples than a chart shows."""
    assert row.timeline is not None
    samples: list[tuple[float, float]] = []
    for one in sorted(row.timeline.usage, key=lambda one: one.time_seconds):
        value = _value(one, gpu)
        if value is not None and math.isfinite(one.time_seconds):
            samples.append((one.time_seconds - origin, value))
    segment, before = 0, -math.inf
    for bin_of in _binned(samples, width):
        seconds = fmean(time for time, _ in bin_of)
        if seconds - before > max(_SILENCE_SECONDS, _SILENCE_BINS * width):
            segment += 1
        before = seconds
        yield Moment(name, f"{name} {segment}", seconds, fmean(value for _, value in bin_of))


def _value(usage: Usage, gpu: bool) -> float | None:
    value = usage.gpu_utilisation if gpu else usage.cpu_utilisation
    return value if value is not None and math.isfinite(value) else None


def _binned(samples: Sequence[tuple[float, float]], width: float) -> Iterator[list[tuple[float, float]]]:
    """Samples of the same bin together; each by itself where bins are no longer than the shortest."""
    if width <= SHORTEST_BIN_SECONDS:
        yield from ([one] for one in samples)
        return
    together: dict[int, list[tuple[float, float]]] = {}
    for seconds, value in samples:
        together.setdefault(int(seconds // width), []).append((seconds, value))
    yield from together.values()


def _waited(stretch: Stretch, segment: str, width: float) -> Iterator[Moment]:
    """The share of waiting in bins of about ``width``; a last moment ends the last bin."""
    length = stretch.end_seconds - stretch.start_seconds
    shares = waiting_shares(stretch.measured, max(1, round(length / width)))
    name = f"{stretch.series} {segment}"
    for place, share in enumerate((*shares, shares[-1])):
        yield Moment(stretch.series, name, stretch.start_seconds + place * length / len(shares), share)


def waiting_shares(measured: Pass, bins: int) -> list[float]:
    """The share of each of so many equal bins of a pass in which a batch was waited for, 0..1.

    Where it was not noted when each batch began to be waited for, the share of the whole pass.
    """
    begins, waits = measured.batch_begin_seconds, measured.batch_wait_seconds
    if not begins or len(begins) != len(waits):
        return [measured.wait_seconds / measured.seconds] * bins
    width = measured.seconds / bins
    waited = [0.0] * bins
    for begin, wait in zip(begins, waits, strict=True):
        start, end = max(0.0, begin), min(begin + wait, measured.seconds)
        for place in range(min(int(start / width), bins - 1), bins):
            low, high = max(start, place * width), min(end, (place + 1) * width)
            if high <= low:
                break
            waited[place] += high - low
    return [min(1.0, seconds / width) for seconds in waited]


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else None
