"""Which of the finalists to use: the fastest, or a cheaper one that nobody can tell from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from throughput.measure.statistics import Ratio, paired_ratio
from throughput.tuning.configuration import Configuration

_AS_FAST = 0.97
"""Of the fastest's rate: what is measured slower than this is not preferred, however wide its interval."""


@dataclass(frozen=True)
class Choice:
    """words: why this one. rates: images per second of each finalist, one for each whole round."""

    configuration: Configuration
    words: str
    rates: Mapping[Configuration, tuple[float, ...]]


def choose(
    rates: Mapping[Configuration, Sequence[float]], peak_rss_bytes: Mapping[Configuration, int | None]
) -> Choice:
    """From the images per second of two finalists or more, measured next to each other round by round.

    Of those that cannot be told from the fastest, the one that takes the fewest workers, then the least
    memory: for batches, by estimate, then as measured.
    """

    kept = {one: tuple(found) for one, found in rates.items()}
    fastest = max(kept, key=lambda one: geometric_mean(kept[one]))

    def cost(one: Configuration) -> tuple[int, int, int, bool]:
        return one.workers, one.held_bytes, peak_rss_bytes.get(one) or 0, one != fastest

    alike = [one for one in kept if one == fastest or _is_as_fast(kept[one], kept[fastest])]
    chosen = min(alike, key=cost)
    rounds = len(kept[fastest])
    if chosen != fastest:
        saved = "fewer workers" if chosen.workers < fastest.workers else "less memory"
        words = (
            f"not told from the fastest ({fastest.words}) in {_rounds(rounds)}: "
            f"{_ratio(kept[chosen], kept[fastest])} of its rate, with {saved}"
        )
    else:
        second = max((one for one in kept if one != fastest), key=lambda one: geometric_mean(kept[one]))
        words = (
            f"the fastest of {len(kept)} finalists in {_rounds(rounds)}; the next ({second.words}) "
            f"reaches {_ratio(kept[second], kept[fastest])} of its rate"
        )
    return Choice(chosen, words, kept)


def _rounds(count: int) -> str:
    return "a single round" if count == 1 else f"{count} interleaved rounds"


def _is_as_fast(ours: Sequence[float], fastest: Sequence[float]) -> bool:
    if geometric_mean(ours) < _AS_FAST * geometric_mean(fastest):
        return False
    interval = _interval(ours, fastest)
    return interval is None or interval.high >= 1


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    interval = _interval(ours, theirs)
    if interval is None:
        return f"{geometric_mean(ours) / geometric_mean(theirs):.3f}"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _interval(ours: Sequence[float], theirs: Sequence[float]) -> Ratio | None:
    return paired_ratio(ours, theirs) if len(ours) > 1 else None
