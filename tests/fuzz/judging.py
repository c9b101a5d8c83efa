"""What becomes of a case: words or the right answer. Everything else is a fault of the reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from numpy.random import Generator

from throughput.errors import ThroughputError

Outcome = Literal["refused", "right"]
Case = Callable[[Generator], Outcome]


class WrongError(Exception):
    """A reader gave an answer that is not right, or words that do not name the file."""


@dataclass(frozen=True)
class Reader:
    """name: for the table. made: writes sound files into a folder, and gives the function of one case.

    kernels: whether compiled code reads the bytes, which does not look at the bounds of arrays by itself.
    """

    name: str
    made: Callable[[Path], Case]
    kernels: bool = False


def refused(error: ThroughputError, *names: object) -> Outcome:
    """Judge an error: it must name one of these files."""
    said = str(error)
    require(any(str(name) in said for name in names), f"the error names none of {names}: {said[:200]}")
    require(len(said) < 4000, f"{len(said)} characters of an error")
    return "refused"


def require(holds: bool, words: str) -> None:
    """Raise WrongError unless it holds."""
    if not holds:
        raise WrongError(words)
