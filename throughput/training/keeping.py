"""When an epoch is kept while it is under way: every so often, and where the run is asked to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from throughput.child_process import children_may_end
from throughput.contracts import Resumable
from throughput.ranks.company import ALONE, Company, Turn, Wish
from throughput.training.resumption import Part

GRACE_SECONDS = {signal.SIGINT: 1.0, signal.SIGTERM: 10.0}
"""How long a request to end waits for a batch's end. At Ctrl-C somebody looks on; else it is a scheduler."""


class StoppedError(KeyboardInterrupt):
    """Interrupted between two batches, and kept: it goes on from there."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.epoch = part.epoch
        self.batches = part.batches


class Stopping:
    """Lets a request to end wait for the end of a batch. asked: whether there was one."""

    def __init__(self) -> None:
        self.asked = False
        self._ends = False
        self._owner = os.getpid()
        self._before_alarm: Any = None

    @contextmanager
    def at_boundaries(self) -> Iterator[None]:
        """Within, the first request is noted only; KeyboardInterrupt comes with a second, or after a while.

        What nobody handled before is left as it was, and so is all in a thread, which gets no signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {one: signal.getsignal(one) for one in GRACE_SECONDS}
        before = {one: handler for one, handler in before.items() if callable(handler)}
        try:
            for one in before:
                signal.signal(one, self._note)
            yield
        except Exception as error:
            if self.asked:  # it may have ended the loader's processes as well, which torch tells at any place
                raise KeyboardInterrupt from error
            raise
        finally:
            self.arrived()
            for one, handler in before.items():
                signal.signal(one, handler)
        if self.asked:
            raise KeyboardInterrupt

    def ends(self) -> None:
        """The run is being ended: where another rank was asked first, a request here need not hurry it."""
        self._ends = True

    def arrived(self) -> None:
        """A boundary has come in time."""
        if self._before_alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before_alarm)
            self._before_alarm = None

    def _note(self, number: int, _: object) -> None:
        # A worker that was forked meanwhile has this handler, too, and is to end at once.
        if self.asked or os.getpid() != self._owner:
            raise KeyboardInterrupt
        children_may_end()  # all processes may have been asked at once, and the step goes on to its end
        self.asked = True
        if self._ends:
            return
        self._before_alarm = signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS[signal.Signals(number)])


class Keeping:
    """Keeps an epoch that is under way. loader: feeds it.

    write: puts what came of it into a file, and is told whether the run ends with that. company: the ranks
    that train together, and keep after the same step.
    """

    def __init__(
        self,
        loader: Resumable,
        every_seconds: float,
        write: Callable[[Part, bool], None],
        company: Company = ALONE,
    ) -> None:
        self.loader = loader
        self._company = company
        self.stopping = Stopping()
        self._every_seconds = every_seconds
        self._write = write
        self._kept: float | None = None

    def wish(self, now: float) -> Wish:
        """What this rank wishes at the next boundary. now: seconds on any clock, from the first call on."""
        if self._kept is None:
            self._kept = now
        asked = self.stopping.asked
        return Wish(keeps=asked or now - self._kept >= self._every_seconds, stops=asked)

    def agreed(self, turn: Turn, now: float) -> Wish:
        """What is to be done behind a step, at a boundary: what any rank wished before it.

        Alone, what has come up during the step need not wait for the next one.
        """
        return self.wish(now) if self._company.size == 1 else turn.wish

    def keep(self, part: Part, *, stops: bool) -> None:
        """Write, and raise StoppedError where the run is to end."""
        if stops:
            self.stopping.ends()
        self.stopping.arrived()
        self._write(part, stops)
        self._kept = None
        if stops or (self._company.size == 1 and self.stopping.asked):
            raise StoppedError(part)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
