"""The blocks of a search: what each gave, what it cost, and what the budget has room for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from throughput.errors import OptionError
from throughput.tuning.choice import Choice
from throughput.tuning.configuration import Configuration
from throughput.tuning.trial import Outcome, Trial, trial_of

Clock = Callable[[], float]
Measure = Callable[[Configuration, float], Outcome]
"""Runs one block of a configuration, whose pass is to take so many seconds."""


@dataclass(frozen=True)
class Found:
    """What a search knows so far. choice: None before anything was measured. trials: the first one first."""

    choice: Choice | None
    trials: tuple[Trial, ...]
    spent_seconds: float


class Blocks:
    """``on_block`` is told what is known after each block: the choice is then the fastest so far."""

    def __init__(
        self,
        measure: Measure,
        budget_seconds: float,
        clock: Clock = time.monotonic,
        on_block: Callable[[Found], None] = lambda _: None,
    ) -> None:
        self._measure = measure
        self._budget_seconds = budget_seconds
        self._clock = clock
        self._on_block = on_block
        self._begin = clock()
        self._outcomes: dict[Configuration, list[Outcome]] = {}
        self._dropped: dict[Configuration, str] = {}
        self._beside_seconds: list[float] = []

    def run(self, some: Iterable[Configuration], pass_seconds: float) -> bool:
        """A block of each, as long as the budget has room; whether it had room for all of them."""
        for one in some:
            if self._outcomes and not self.room(pass_seconds):
                return False
            begin = self._clock()
            outcome = self._measure(one, pass_seconds)
            if outcome.measured is not None or not self._beside_seconds:
                self._beside_seconds.append(max(0.0, self._clock() - begin - pass_seconds))
            self._outcomes.setdefault(one, []).append(outcome)
            if outcome.reason is not None:
                self._dropped[one] = outcome.reason
            self._on_block(self.found())
        return True

    def require_two(self, pass_seconds: float) -> None:
        """Raise OptionError where the budget was not enough for two blocks such as the first."""
        needed = 2 * self.cost_seconds(pass_seconds)
        if needed > self._budget_seconds:
            raise OptionError(
                f"--budget {self._budget_seconds:g}s is too short: a measurement of {pass_seconds:g} s takes "
                f"{needed / 2:.1f} s here, and there must be two: give {needed + 1:.0f}s or more"
            )

    def cost_seconds(self, pass_seconds: float) -> float:
        """What a block of such a pass is expected to take, its opening and closing included."""
        return pass_seconds + (statistics.fmean(self._beside_seconds) if self._beside_seconds else 0.0)

    def left_seconds(self) -> float:
        """Of the budget; below 0 where the last block took longer than expected."""
        return self._budget_seconds - self._spent_seconds()

    def room(self, pass_seconds: float, kept_seconds: float = 0.0) -> int:
        """How many more blocks of such passes end within the budget, some of it kept for later."""
        return max(0, int((self.left_seconds() - kept_seconds) / self.cost_seconds(pass_seconds)))

    def has_tried(self, one: Configuration) -> bool:
        """Whether a block of it was run, whatever came of it."""
        return one in self._outcomes

    def rate(self, one: Configuration) -> float:
        """Images per second over all its passes; 0 where it has none, or is out of the question."""
        return 0.0 if one in self._dropped else self._trial(one).pooled_rate

    def last_rate(self, one: Configuration) -> float:
        """Images per second of its last pass; 0 as above."""
        return 0.0 if one in self._dropped else self.passes(one)[-1]

    def passes(self, one: Configuration) -> tuple[float, ...]:
        """Images per second of each of its passes."""
        return self._trial(one).rates

    def ranked(self, some: Iterable[Configuration]) -> list[Configuration]:
        """Those that were measured and are not out of the question, the fastest first."""
        return sorted((one for one in some if self.rate(one)), key=self.rate, reverse=True)

    def drop_slower(self, some: Iterable[Configuration], fastest: Configuration) -> None:
        """They go no further: the fastest so far outran them."""
        for one in some:
            rates = f"{self.rate(one):,.0f} images/s where the fastest reached {self.rate(fastest):,.0f}"
            self._dropped[one] = f"slower: {rates}"

    def peaks(self) -> dict[Configuration, int | None]:
        """The most memory that each took, as measured."""
        return {one: self._trial(one).peak_rss_bytes for one in self._outcomes}

    def found(self, choice: Choice | None = None) -> Found:
        """What is known; without a ``choice``, the fastest so far is it."""
        trials = tuple(map(self._trial, self._outcomes))
        if choice is None and (leaders := self.ranked(self._outcomes)):
            choice = Choice(leaders[0], "the fastest so far", {})
        return Found(choice, trials, self._spent_seconds())

    def _trial(self, one: Configuration) -> Trial:
        return trial_of(one, self._outcomes.get(one, ()), self._dropped.get(one))

    def _spent_seconds(self) -> float:
        return self._clock() - self._begin
