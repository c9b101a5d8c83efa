"""Quantities as people write them."""

from __future__ import annotations

import math
import re

from throughput.errors import OptionError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt])?(i)?b?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|min|h)?", re.IGNORECASE)


def parse_share(name: str, text: str) -> float:
    """``5%`` or ``0.05`` as 0.05. name: of the option, for the error. Raises OptionError."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise OptionError(
            f"{name} must be a share such as 5% or 0.05, from 0 to less than 100 %, got {text!r}"
        )
    return share


def parse_bytes(name: str, text: str) -> int:
    """``20GB``, ``512 MB`` or ``64MiB`` as bytes; a number alone is bytes. Raises OptionError."""
    found = _BYTES.fullmatch(text.strip())
    if not found or float(found[1]) <= 0:
        raise OptionError(f"{name} must be an amount such as 20GB, 512MB or 64MiB, got {text!r}")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** "_kmgt".index((found[2] or "_").lower()))


def parse_rate(name: str, text: str) -> float:
    """Bytes a second, from a text such as ``20MB/s``. Raises OptionError."""
    if not text.strip().endswith("/s"):
        raise OptionError(f"{name} must be a rate such as 20MB/s or 1.2GB/s, got {text!r}")
    return float(parse_bytes(name, text.strip().removesuffix("/s")))


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
