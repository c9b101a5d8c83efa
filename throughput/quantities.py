"""Quantities as people write them."""

from __future__ import annotations

from throughput.errors import OptionError


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
