"""Slower, not slower, or not known yet: what the pairs measured so far say.

The ratio of each pair is head's rate over base's, of two rounds that ran one after the other. Deciding as
soon as an interval says enough means looking at it again and again, and each look is another chance to be
wrong: a 95 % interval, looked at after each pair, is wrong far more often than in 5 % of cases. So the
interval is one of 99 %, and it is looked at after 4, 6, 9, 14, 21, ... pairs, half as many again each time: a
group- sequential test with a constant bound (Pocock 1977, Biometrika 64:191). For a change exactly at the
margin, the worst case, all looks at up to 50 pairs together then err in 2.5 % to either side, at up to 200
pairs in 3.5 %.
"""

from __future__ import annotations

from collections.abc import Sequence

from throughput.judgement import Decision
from throughput.measure.statistics import Ratio, paired_ratio

CONFIDENCE = 0.99
FEWEST_PAIRS = 4
_GROWTH = 1.5


def is_look(pairs: int) -> bool:
    """Whether that many pairs are looked at: 4, 6, 9, 14, 21, 32, 48, ..."""
    look = FEWEST_PAIRS
    while look < pairs:
        look = round(look * _GROWTH)
    return look == pairs


def decide(base: Sequence[float], head: Sequence[float], least_ratio: float) -> tuple[Decision, Ratio]:
    """What two pairs or more say of head, images per second of each round, and its ratio to base.

    least_ratio: what head must reach of base's rate. Raises ValueError below two pairs.
    """
    ratio = paired_ratio(head, base, CONFIDENCE)
    if ratio.high < least_ratio:
        return "slower", ratio
    if ratio.low > least_ratio:
        return "not slower", ratio
    return "undecided", ratio
