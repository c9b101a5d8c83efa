"""How long to measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from throughput.errors import OptionError


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    seconds: length of a pass; it ends with the batch that reaches it.
    steps: batches in a pass, in place of ``seconds``.
    repeats: number of passes. warmup_steps: batches before the first one, not measured.
    """

    seconds: float = 3.0
    steps: int | None = None
    repeats: int = 3
    warmup_steps: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise OptionError(f"--seconds must be a number above 0, got {self.seconds}")
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"--steps must be a whole number of 1 or more, got {self.steps}")
        if self.repeats < 1:
            raise OptionError(f"--repeats must be a whole number of 1 or more, got {self.repeats}")
