"""Lengths of time as people write them: ``60s``, ``2m``, ``1h``, ``90``."""

from __future__ import annotations

import math
import re

from throughput.errors import OptionError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|min|h)?", re.IGNORECASE)


def parse_duration(name: str, duration: str | float) -> float:
    """Seconds, from a number of them or a text such as ``90``, ``1.5m`` or ``2 h``. ``name`` is for messages.

    Raises OptionError for anything else, and for what is not above 0.
    """
    if isinstance(duration, str):
        found = _DURATION.fullmatch(duration.strip())
        seconds = float(found[1]) * _SECONDS[(found[2] or "").lower()] if found else math.nan
    else:
        seconds = float(duration)
    if not 0 < seconds < math.inf:
        raise OptionError(f"{name} must be a length of time such as 60s, 2m or 1h, got {duration!r}")
    return seconds
