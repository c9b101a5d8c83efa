"""Why a file cannot be given restart intervals."""

from __future__ import annotations

from typing import Literal

Untouched = Literal[
    "not a JPEG",
    "damaged",
    "arithmetic-coded",
    "12-bit",
    "CMYK",
    "lossless or hierarchical",
    "data behind the image",
    "would grow too much",
    "unusual",
]


class Unfit(Exception):  # noqa: N818 - not an error of the user's: the file passes as it is
    """The file stays as it is. kind: what it is counted as; the message says why."""

    def __init__(self, kind: Untouched, reason: str) -> None:
        super().__init__(reason)
        self.kind: Untouched = kind
