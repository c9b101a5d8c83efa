"""Worker processes that look at pieces in parallel, and are replaced when they die."""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait

from throughput.checking.ends import Wrong
from throughput.checking.examine import Seen
from throughput.checking.pieces import Piece
from throughput.checking.worker import READY
from throughput.child_process import start_child
from throughput.contracts import Source
from throughput.errors import ThroughputError

MODULE = "throughput.checking.worker"
CRASHED, DIED_ONCE = "crash", "worker died once"
_CHUNK = 16
"""Pieces sent at once: few enough that two such fit into a socket's buffer, whatever their paths."""
_MOST_FAILED_STARTS = 3


class PoolError(ThroughputError):
    """No worker can be started here."""


class _Worker:
    """A process, and the pieces that it was sent and has not answered, in order."""

    def __init__(self, source: Source | None) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = start_child(MODULE, theirs, os.environ)
        self.connection = Connection(ours.detach())
        self.unanswered: deque[Piece] = deque()
        self.is_ready = self.is_dead = False
        with suppress(BrokenPipeError, ConnectionResetError):  # its end is noticed where it is listened to
            self.connection.send(source)

    def give(self, pieces: list[Piece]) -> None:
        """Hand pieces over."""
        self.unanswered.extend(pieces)
        with suppress(BrokenPipeError, ConnectionResetError):  # as above
            self.connection.send(pieces)

    def answers(self) -> Iterator[Seen]:
        """What it has said by now; afterwards ``is_dead`` tells whether it will say no more."""
        while self.connection.poll():
            try:
                said: Seen | str = self.connection.recv()
            except (EOFError, OSError):
                self.is_dead = True
                return
            if isinstance(said, Seen):
                self.unanswered.popleft()
                yield said
            else:
                self.is_ready = said == READY

    def end(self) -> int:
        """End it; its exit status, negative for a signal."""
        self.process.kill()
        self.connection.close()
        return self.process.wait()


def look_in_parallel(
    pieces: Iterator[Piece], workers: int, source: Source | None, stop: int
) -> Generator[Seen, None, None]:
    """Yield what was seen of each piece, in no particular order; a few pieces for each worker are under way.

    A piece at which a worker died is given to another; where that dies as well, it is the piece's fault.
    stop: a descriptor; KeyboardInterrupt is raised once it can be read. On leaving, all workers are gone.
    Raises PoolError where workers die before they have looked at anything.
    """
    crew = _Crew(pieces, workers, source)
    try:
        while busy := crew.hand_out():
            ready = wait([stop, *(worker.connection for worker in busy)])
            for worker in busy:
                for seen in worker.answers():
                    is_suspect = seen.number in crew.suspects
                    yield seen._replace(remarks=(*seen.remarks, DIED_ONCE)) if is_suspect else seen
                if worker.is_dead:
                    yield from crew.bury(worker)
            if stop in ready:
                raise KeyboardInterrupt
    finally:
        crew.end()


@dataclass
class _Crew:
    """Workers, and what there is for them to do.

    again: pieces of workers that died. suspects: numbers of those that one died at. failed_starts: workers
    that died before they were ready, one after another.
    """

    pieces: Iterator[Piece]
    size: int
    source: Source | None
    workers: list[_Worker] = field(default_factory=list)
    again: deque[Piece] = field(default_factory=deque)
    suspects: set[int] = field(default_factory=set)
    failed_starts: int = 0

    def hand_out(self) -> list[_Worker]:
        """Give every worker that has less than a chunk to do another; those that have something to do."""
        for place in range(self.size):
            worker = self.workers[place] if place < len(self.workers) else None
            if worker is not None and not self._may_have_more(worker):
                continue
            chunk = [self.again.popleft()] if self.again else list(islice(self.pieces, _CHUNK))
            if not chunk:
                break
            if worker is None:
                worker = _Worker(self.source)
                self.workers.append(worker)
            worker.give(chunk)
        return [worker for worker in self.workers if worker.unanswered]

    def _may_have_more(self, worker: _Worker) -> bool:
        if self.again and self.again[0].number in self.suspects:
            return not worker.unanswered  # a suspect comes first, so that nothing else is suspected with it
        return len(worker.unanswered) < _CHUNK

    def bury(self, worker: _Worker) -> Iterator[Seen]:
        """Take back what a dead worker had to do; what it was at is suspect, or at fault the second time."""
        self.workers.remove(worker)
        status = worker.end()
        if not worker.is_ready:
            self.again.extend(worker.unanswered)
            self.failed_starts += 1
            if self.failed_starts == _MOST_FAILED_STARTS:
                raise PoolError(
                    f"processes that look at samples do not start: {_how(status)}; "
                    f"what they said last is above"
                )
            return
        self.failed_starts = 0
        if not worker.unanswered:
            return
        at, *others = worker.unanswered
        self.again.extend(others)
        if at.number not in self.suspects:
            self.suspects.add(at.number)
            self.again.appendleft(at)
            return
        self.suspects.remove(at.number)
        cause = f"the process that decoded it died twice: {_how(status)}"
        yield Seen(at.number, 0, Wrong(CRASHED, cause), is_sample=not at.is_shard)

    def end(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.end()


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "it was killed (SIGKILL), perhaps for lack of memory"
    return (
        f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it ended with status {status}"
    )
