"""When passes begin and end: together, and, where ranks exchange gradients, after as many steps in each."""

from __future__ import annotations

from collections.abc import Callable


class Pace:
    """Passes begin together, and end where each rank thinks so."""

    def __init__(self, meet: Callable[[], None]) -> None:
        self._meet = meet

    def begin(self) -> None:
        """A pass is about to begin."""
        self._meet()

    def over(self, own: bool) -> bool:
        """Asked after each batch. own: whether this rank's pass should end here."""
        return own


class InStep(Pace):
    """Passes end one batch after a rank first thought so, in all ranks alike.

    ask: begins to find out whether any rank says True, and gives what waits for the answer. It has the time
    of a whole step to come, so that nobody waits for it.
    """

    def __init__(self, meet: Callable[[], None], ask: Callable[[bool], Callable[[], bool]]) -> None:
        super().__init__(meet)
        self._ask = ask
        self._answer: Callable[[], bool] | None = None

    def begin(self) -> None:
        self._answer = None
        super().begin()

    def over(self, own: bool) -> bool:
        if self._answer is not None and self._answer():
            self._answer = None
            return True
        self._answer = self._ask(own)
        return False
