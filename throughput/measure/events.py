"""What the measuring process tells its parent while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from throughput.results import PhaseName


@dataclass(frozen=True)
class Started:
    """The process is up and knows its work. device_uuid: the GPU that it uses, None on a CPU."""

    device_uuid: str | None


@dataclass(frozen=True)
class Opened:
    """What is measured next runs, and nothing of it is measured before the parent asks for the next event.

    Told where the block has a ``clock``.
    """


@dataclass(frozen=True)
class Doing:
    """Progress: ``done`` of ``total`` units, None where the total is unknown."""

    text: str
    done: float
    total: float | None


@dataclass(frozen=True)
class Measured:
    """A phase's pass lay between these two readings of ``time.perf_counter``."""

    phase: PhaseName
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Finished:
    """What came of the task, such as a Row or a Certificate; nothing follows."""

    result: object


Event = Started | Opened | Doing | Measured | Finished
Tell = Callable[[Event], None]
