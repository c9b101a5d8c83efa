"""What a configuration may take of this machine's memory, judged before it is tried and after."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from throughput.contracts import Held, Work
from throughput.measure.environment import SHM, usable_memory_bytes

_MOST_OF_MEMORY = 0.8
"""The rest is for the model, the page cache and everybody else."""


@dataclass(frozen=True)
class Limits:
    """memory_bytes: the machine's, or its cgroup's. shm_free_bytes: None where there is no shared memory."""

    memory_bytes: int
    shm_free_bytes: int | None

    def why_not(self, work: Work, held: Held) -> str | None:
        """Why the batches that a loader holds would not fit, or None."""
        shared = held.shared * batch_bytes(work)
        if self.shm_free_bytes is not None and shared > self.shm_free_bytes:
            return (
                f"{held.shared} batches take {_megabytes(shared)} of shared memory, and {SHM} has "
                f"{_megabytes(self.shm_free_bytes)} free: enlarge it (docker run --shm-size)"
            )
        return self.exceeded(held.batches * batch_bytes(work), f"{held.batches} batches take")

    def exceeded(self, used_bytes: int, what: str = "all processes together took") -> str | None:
        """Why so much memory is too much, or None. what: for the message, who takes it."""
        if used_bytes <= _MOST_OF_MEMORY * self.memory_bytes:
            return None
        return (
            f"{what} {_megabytes(used_bytes)} of memory, more than {_MOST_OF_MEMORY:.0%} of the "
            f"{_megabytes(self.memory_bytes)} that there are"
        )


def limits_here() -> Limits:
    """Of this machine, cgroups included."""
    return Limits(usable_memory_bytes(), _free_bytes(SHM))


def batch_bytes(work: Work) -> int:
    """Of a batch of uint8."""
    return work.batch_size * work.channels * work.image_size**2


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
