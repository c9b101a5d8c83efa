"""Worker processes that look at pieces in parallel, and are replaced when they die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path

from throughput.checking.ends import Wrong
from throughput.checking.examine import Seen
from throughput.checking.listing import Piece
from throughput.checking.worker import READY
from throughput.contracts import Source
from throughput.errors import ThroughputError

MODULE = "throughput.checking.worker"
CRASHED, DIED_ONCE = "crash", "worker died once"
_CHUNK = 16
"""Pieces sent at once: few enough that two such fit into a socket's buffer, whatever their paths."""


class PoolError(ThroughputError):
    """No worker can be started here."""


class _Worker:
    """A process, and the pieces that it was sent and has not answered, in order."""

    def __init__(self, source: Source | None) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                # -P: what lies in the current folder is imported only if it could be imported here.
                [sys.executable, "-P", "-m", MODULE, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                # What libraries print goes to stderr: stdout carries only what was asked for.
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # A session of its own: Ctrl-C in the terminal reaches us only.
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
                },
            )
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
    crew: list[_Worker] = []
    again: deque[Piece] = deque()
    suspects: set[int] = set()
    try:
        while True:
            _hand_out(pieces, again, suspects, crew, workers, source)
            busy = [worker for worker in crew if worker.unanswered]
            if not busy:
                return
            ready = wait([stop, *(worker.connection for worker in busy)])
            for worker in busy:
                for seen in worker.answers():
                    is_suspect = seen.number in suspects
                    yield seen._replace(remarks=(*seen.remarks, DIED_ONCE)) if is_suspect else seen
                if worker.is_dead:
                    crew.remove(worker)
                    yield from _bury(worker, again, suspects)
            if stop in ready:
                raise KeyboardInterrupt
    finally:
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.end()


def _hand_out(
    pieces: Iterator[Piece],
    again: deque[Piece],
    suspects: set[int],
    crew: list[_Worker],
    workers: int,
    source: Source | None,
) -> None:
    """Keep every worker busy: those with less than a chunk to do get another."""
    for place in range(workers):
        if place < len(crew) and len(crew[place].unanswered) >= _CHUNK:
            continue
        if again and place < len(crew) and crew[place].unanswered and again[0].number in suspects:
            continue  # it gets a worker to itself, so that nothing else is suspected
        chunk = [again.popleft()] if again else list(islice(pieces, _CHUNK))
        if not chunk:
            return
        if place >= len(crew):
            crew.append(_Worker(source))
        crew[place].give(chunk)


def _bury(worker: _Worker, again: deque[Piece], suspects: set[int]) -> Iterator[Seen]:
    """Give back what a dead worker had to do; what it was at is suspect, or at fault the second time."""
    status = worker.end()
    if not worker.is_ready:
        raise PoolError(
            f"a process that looks at samples ended at once ({_how(status)}); its last words are above"
        )
    at, *others = worker.unanswered
    if at.number in suspects:
        suspects.remove(at.number)
        cause = f"the process that decoded it died twice: {_how(status)}"
        yield Seen(at.number, 0, Wrong(CRASHED, cause), is_sample=not at.is_shard)
    else:
        suspects.add(at.number)
        again.appendleft(at)
    again.extend(others)


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "it was killed (SIGKILL), perhaps for lack of memory"
    return (
        f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it ended with status {status}"
    )
