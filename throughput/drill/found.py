"""What a drill found: a cell for each loader, fault, place and policy; in words, and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from throughput.contracts import OnError
from throughput.drill.judging import FAILED, Outcome
from throughput.drill.planting import Lies

SCHEMA = 1


@dataclass(frozen=True)
class Found:
    """What came of one cell.

    fault: its name, ``none`` for the sound copy. lies: where it was put. damaged: samples that it damages.
    seconds: of the epoch; None where it did not come to its end. slowdown: these seconds against the sound
    copy's, by the same loader.
    """

    loader: str
    fault: str
    lies: Lies
    policy: OnError
    outcome: Outcome
    words: str
    damaged: int
    seconds: float | None = None
    slowdown: float | None = None

    @property
    def failed(self) -> bool:
        """Whether no cell may end like this."""
        return self.outcome in FAILED


@dataclass(frozen=True)
class Drill:
    """All that was found. source: as the user named it. samples: in the copy.

    left_out: samples of the source that nobody can decode. share: of the samples, hit by each fault.
    not_planted: cases for which no sample could have the fault there, in words.
    """

    source: str
    samples: int
    left_out: int
    share: float
    seed: int
    found: tuple[Found, ...] = ()
    not_planted: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Found, ...]:
        """The cells that ended as none may."""
        return tuple(one for one in self.found if one.failed)

    def summary(self) -> str:
        """One sentence."""
        counted = Counter(one.outcome for one in self.found)
        count = len({one.loader for one in self.found})
        loaders = "1 loader" if count == 1 else f"{count} loaders"
        said = ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common())
        verdict = (
            f"{len(self.failed)} failed"
            if self.failed
            else "no fault stays silent, hangs a loader or ends it without a word"
        )
        return f"{len(self.found)} cells of {loaders} over {self.samples} samples: {said}; {verdict}"

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` writes."""
        described = {name: value for name, value in asdict(self).items() if name != "found"}
        cells = [asdict(one) | {"failed": one.failed} for one in self.found]
        return {"schema": SCHEMA, **described, "summary": self.summary(), "cells": cells}
