"""What was measured of a configuration, block by block."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from throughput.results import Pass, Phase, Rate
from throughput.tuning.configuration import Configuration


@dataclass(frozen=True)
class Outcome:
    """What one block gave. reason: why the configuration is out of the question; None where it is not.

    measured: None where it failed. cpu_utilisation: 0..1 of the usable cores; None where not measurable.
    warnings: what casts doubt on it.
    """

    measured: Pass | None
    reason: str | None = None
    cpu_utilisation: float | None = None
    peak_rss_bytes: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """A configuration and its passes, in their order. dropped: why it went no further; None where it did.

    cpu_utilisation: the mean of its blocks. peak_rss_bytes: the highest of them. warnings: of all of them.
    """

    configuration: Configuration
    passes: tuple[Pass, ...] = ()
    dropped: str | None = None
    cpu_utilisation: float | None = None
    peak_rss_bytes: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def images_per_second(self) -> Rate | None:
        """Over its passes, which may differ in length; None where it has none."""
        return Phase(self.passes).images_per_second if self.passes else None

    @property
    def pooled_rate(self) -> float:
        """Images of all passes over their seconds: a longer pass counts for more. 0 without any."""
        seconds = sum(one.seconds for one in self.passes)
        return sum(one.images for one in self.passes) / seconds if seconds else 0.0

    @property
    def rates(self) -> tuple[float, ...]:
        """Images per second of each pass."""
        return tuple(one.images / one.seconds for one in self.passes)


def trial_of(configuration: Configuration, outcomes: Sequence[Outcome], dropped: str | None) -> Trial:
    """The blocks of one configuration together."""
    busy = [one.cpu_utilisation for one in outcomes if one.cpu_utilisation is not None]
    peaks = [one.peak_rss_bytes for one in outcomes if one.peak_rss_bytes is not None]
    return Trial(
        configuration,
        tuple(one.measured for one in outcomes if one.measured is not None),
        dropped,
        statistics.fmean(busy) if busy else None,
        max(peaks, default=None),
        tuple(warning for one in outcomes for warning in one.warnings),
    )
