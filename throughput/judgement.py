"""What is concluded from measurements: certificate, verdict, evidence of the page cache, comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from throughput.measured import PhaseName, Rate

Bottleneck = Literal["loader-bound", "model-bound", "transfer-bound", "cpu-contended", "balanced"]
Decision = Literal["slower", "not slower", "undecided", "failed"]


@dataclass(frozen=True)
class Check:
    """One thing that a certificate looked at.

    value, limit: what was found and what is allowed, in the unit that ``words`` names; None where a check
    has no number. words: what was looked at and what was found, in a sentence.
    """

    name: str
    ok: bool
    words: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Certificate:
    """Whether a loader does the canonical work.

    comparable: None where it could not be certified, and ``reason`` says why. seconds: what it took to
    make. cached: it was made by an earlier run.
    """

    comparable: bool | None
    checks: tuple[Check, ...] = ()
    reason: str | None = None
    seconds: float = 0.0
    cached: bool = False

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.ok)


@dataclass(frozen=True)
class Suggestion:
    """What to try next, and the images per second in training that it is predicted to give.

    low, high: between these the rate is predicted to lie: a 95 % prediction interval where the same was
    measured already, else the least and the most that what is known allows. options: the options of
    ``throughput bench`` that apply it, without the leading dashes; None where it is out of the command's
    reach. measured: what was then measured (``--check-prediction``).
    """

    text: str
    images_per_second: float
    low: float
    high: float
    options: dict[str, str] | None = None
    measured: Rate | None = None


@dataclass(frozen=True)
class Projection:
    """How long one epoch of so many images takes at the measured training rate and at its interval's ends.

    low, high: None where one pass shows no spread.
    """

    images: int
    seconds: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Verdict:
    """What limits the training and what to try next, the most promising first.

    overlap_efficiency: 1 where the shorter of loading and computing is hidden behind the longer, 0 where they
    take turns; None where a phase is missing. stages: those of the row.
    """

    bottleneck: Bottleneck
    sentence: str
    overlap_efficiency: float | None
    stages: dict[str, float] = field(default_factory=dict)
    suggestions: tuple[Suggestion, ...] = ()
    epochs: tuple[Projection, ...] = ()


@dataclass(frozen=True)
class CacheEvidence:
    """What the page cache held and what the device gave, over all cold or warm passes of a row.

    files_bytes: of all files that hold the data. resident_before: the largest (cold) or smallest (warm)
    share of them in the page cache when a pass began, 0..1. bytes_read: from the device during the passes;
    bytes_delivered: encoded bytes of the samples that they delivered, by their mean size.

    The others tell stalls apart by differencing, as DS-Analyzer does (Mohan et al., "Analyzing and Mitigating
    Data Stalls in DNN Training", VLDB 2021): the same ``images`` in the last phase took ``cold_seconds``
    from a cold cache and ``warm_seconds`` from a warm one, both from the opening of the loader on, of which
    ``startup_seconds`` passed before the first batch; ``replayed_seconds`` is what the model alone takes
    for them (in ``phase`` train only). None in mode ``warm``, and where the phase was not measured.
    """

    mode: Literal["cold", "warm"]
    files_bytes: int
    resident_before: float
    bytes_read: int
    bytes_delivered: int
    phase: PhaseName | None = None
    images: int | None = None
    cold_seconds: float | None = None
    warm_seconds: float | None = None
    startup_seconds: float | None = None
    replayed_seconds: float | None = None

    @property
    def fetch_stall_fraction(self) -> float | None:
        """Share of the cold time after the start that went to waiting for the device, 0..1."""
        if self.cold_seconds is None or self.warm_seconds is None or self.startup_seconds is None:
            return None
        running = self.cold_seconds - self.startup_seconds
        return min(1.0, max(0.0, self.cold_seconds - self.warm_seconds) / running) if running > 0 else None

    @property
    def preparation_stall_fraction(self) -> float | None:
        """Share of that time in which decoding and transforming kept the model waiting, 0..1."""
        if self.cold_seconds is None or self.warm_seconds is None or self.startup_seconds is None:
            return None
        running = self.cold_seconds - self.startup_seconds
        if self.replayed_seconds is None or running <= 0:
            return None
        waited = self.warm_seconds - self.startup_seconds - self.replayed_seconds
        return min(1.0, max(0.0, waited) / running)


@dataclass(frozen=True)
class Comparison:
    """Two loaders over the rounds that ran both: ``loader``'s rate over ``baseline``'s.

    ratio, low, high: of the paired rates, with its 95 % interval; low and high are None for one pair.
    """

    loader: str
    baseline: str
    phase: PhaseName
    ratio: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def words(self) -> Literal["faster", "slower", "not told apart", "no interval"]:
        if self.low is None or self.high is None:
            return "no interval"
        if self.low > 1:
            return "faster"
        if self.high < 1:
            return "slower"
        return "not told apart"


@dataclass(frozen=True)
class GateDecision:
    """The head of a change against its base, in one test: ``throughput gate``.

    loader: what was measured, in which phase. least_ratio: head's rate over base's must be this at least.
    ratio, low, high: of the paired rates, with the interval on which it was decided; None where there are too
    few pairs. confidence: of that interval, 0..1. base, head: images per second, the medians. reason: why it
    failed, or could not be decided. obstacle: why the two were measured one after the other; None where they
    took turns of a fraction of a second.
    """

    test: str
    decision: Decision
    least_ratio: float
    loader: str | None = None
    phase: PhaseName | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    pairs: int = 0
    base: float | None = None
    head: float | None = None
    reason: str | None = None
    obstacle: str | None = None
