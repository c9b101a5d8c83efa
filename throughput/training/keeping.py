"""When an epoch is kept while it is under way: every so often, and where the run is asked to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from throughput.contracts import Resumable
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
        self.asked = True
        self._before_alarm = signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS[signal.Signals(number)])


class Keeping:
    """Keeps an epoch that is under way. loader: feeds it. write: puts what came of it into a file."""

    def __init__(self, loader: Resumable, every_seconds: float, write: Callable[[Part], None]) -> None:
        self.loader = loader
        self.stopping = Stopping()
        self._every_seconds = every_seconds
        self._write = write
        self._kept: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether to ``keep``, at a boundary. now: seconds on any clock, which counts from the first call."""
        if self._kept is None:
            self._kept = now
        return self.stopping.asked or now - self._kept >= self._every_seconds

    def keep(self, part: Part) -> None:
        """Write, and raise StoppedError where the run is to end."""
        self.stopping.arrived()
        self._write(part)
        self._kept = None
        if self.stopping.asked:
            raise StoppedError(part)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
