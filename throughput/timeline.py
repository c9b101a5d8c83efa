"""What went on when: the passes of a row and what its process used meanwhile.

All times are readings of ``time.perf_counter``, on Linux one clock for all processes of a machine since its
start (CLOCK_MONOTONIC): those of different rows of one run can be set side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from throughput.measured import PhaseName


@dataclass(frozen=True)
class Window:
    """A pass of a phase lay between these times. The passes of a phase are in the order of its windows."""

    phase: PhaseName
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Usage:
    """What the process and its workers used between the moment before and this one.

    cpu_utilisation: 0..1 of the usable cores. rss_bytes: resident memory at this moment. gpu_utilisation:
    0..1, share of NVML's last sample period in which any kernel ran; None where there is no GPU.
    """

    time_seconds: float
    cpu_utilisation: float
    rss_bytes: int
    gpu_utilisation: float | None = None


@dataclass(frozen=True)
class Timeline:
    """Of one row, over all its rounds. A gap between two rounds is no use of anything: nothing ran."""

    windows: tuple[Window, ...] = ()
    usage: tuple[Usage, ...] = ()
