"""How long parts of a course took, out of its epochs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from throughput.results import Pass
from throughput.trained import EpochRecord


def target_seconds(records: Iterable[EpochRecord], target: float | None) -> float | None:
    """Training up to the end of the epoch that reaches the target accuracy; None where none does."""
    seconds = 0.0
    for record in records:
        seconds += record.seconds
        if target is not None and record.accuracy is not None and record.accuracy >= target:
            return seconds
    return None


def epoch_gap_seconds(passes: Sequence[Pass]) -> float | None:
    """Median wait for the first batch of an epoch that followed another. passes: of one process.

    The first one of these, resumed or not, waits for the loader to start.
    """
    gaps = [one.batch_wait_seconds[0] for one in passes[1:] if one.batch_wait_seconds]
    return statistics.median(gaps) if gaps else None
