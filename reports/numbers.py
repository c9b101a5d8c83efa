"""Numbers as a reader wants them: rounded, with thousands set apart, and a dash for what is not known."""

from __future__ import annotations

import math
from typing import TypeGuard

from throughput.reports.cells import NOTHING
from throughput.results import Rate


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number, and a finite one."""
    return value is not None and math.isfinite(value)


def per_second(value: float | None) -> str:
    """Images per second."""
    if not known(value):
        return NOTHING
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def interval(low: float | None, high: float | None) -> str:
    """``314 to 359``."""
    return f"{per_second(low)} to {per_second(high)}" if known(low) and known(high) else NOTHING


def with_interval(rate: Rate) -> str:
    """``333 [314, 359]``; the rate alone of a single pass."""
    if not known(rate.low) or not known(rate.high):
        return per_second(rate.median)
    return f"{per_second(rate.median)} [{per_second(rate.low)}, {per_second(rate.high)}]"


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with so many digits behind the point."""
    return f"{value:,.{digits}f}" if known(value) else NOTHING


def general(value: float | None) -> str:
    """A number of any size, to four figures."""
    return f"{value:.4g}" if known(value) else NOTHING


def plural(count: int, one: str) -> str:
    """``1 loader``, ``4 loaders``."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
