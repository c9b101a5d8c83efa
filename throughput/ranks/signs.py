"""Signs of life: each rank gives one twice a second, and notices where another's stay away."""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

BEAT_SECONDS = 0.5
SILENT_SECONDS = 15.0
"""A rank that gives no sign for so long is gone, even if nothing else tells of it."""
GONE_SECONDS = 1.75
"""The same, where something else tells that a rank is gone, and it is only asked which."""
GRACE_SECONDS = 5.0
"""For a rank to end in order, once another is gone or has failed."""
INTERRUPTED = "interrupted"
"""The words of a rank that was."""
_LOST = 3


@dataclass(frozen=True)
class Sign:
    """What a rank last said. count: of its signs. ending: it leaves. words: why it ends too early; "": in
    good order. failed: the name of the last block in which something went wrong."""

    count: int = 0
    ending: bool = False
    ended: bool = False
    words: str = ""
    failed: str = ""


class Signs:
    """Gives this rank's signs and looks at the others', in a thread of its own.

    store: a connection that nothing else uses. names: of all ranks, as messages call them.
    """

    def __init__(self, store: Store, rank: int, names: Sequence[str]) -> None:
        self.lost: str | None = None
        self._store = store
        self._rank = rank
        self._names = names
        self._own = Sign()
        self._seen = [Sign() for _ in names]
        self._moved = [time.monotonic() for _ in names]
        self._watched: tuple[str, Callable[[], None]] | None = None
        self._failed_since: float | None = None
        self._looks = False
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._parent = os.getppid()
        self._thread = threading.Thread(target=self._run, name="signs of life", daemon=True)

    def start(self) -> None:
        """Give the first sign. All ranks must have done so before any calls ``look``."""
        self._say(self._own)

    def look(self) -> None:
        """From now on look at the others', too."""
        self._moved = [time.monotonic() for _ in self._names]
        self._looks = True
        self._thread.start()

    def fail(self, block: str) -> None:
        """Say that something went wrong here in a block."""
        self._say(Sign(self._own.count, failed=block))

    def end(self) -> None:
        """Say that this rank is about to end as all others are, whose ends are no loss to it any more."""
        self._say(Sign(self._own.count, ending=True))

    def watch(self, block: str, end: Callable[[], None]) -> None:
        """Call ``end`` where the block goes wrong in another rank, and it has not ended here soon after."""
        self._failed_since = None
        self._watched = (block, end)

    def unwatch(self) -> None:
        self._watched = None

    def leave(self, words: str) -> None:
        """Say that this rank ends: in good order, or why not."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * BEAT_SECONDS)
        self._say(Sign(self._own.count, ending=True, ended=True, words=words))

    def wait_for_others(self, seconds: float) -> None:
        """Until all others have ended: this rank keeps the store that they use."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self._read() or all(self._gone_or_ended(rank) for rank in self._others()):
                return
            time.sleep(0.05)

    def cause(self, seconds: float, *, interrupted: bool = False) -> str | None:
        """Which rank has gone, and how, for this one to end; None where ``seconds`` show none.

        interrupted: this one was, as others may have been at the same moment: that is no cause.
        """
        self._say(Sign(self._own.count, ending=True))
        if not self._looks:
            return self.lost
        deadline = time.monotonic() + seconds
        while True:
            if self.lost is not None:
                return self.lost
            if not self._thread.is_alive():
                self._beat()
            silent = self._silent(GONE_SECONDS)
            if silent is not None:
                return silent
            if all(self._seen[rank].ending for rank in self._others()) or time.monotonic() > deadline:
                found = self._ended_early()
                return None if interrupted and found is not None and found.endswith(INTERRUPTED) else found
            time.sleep(0.05)

    def _others(self) -> list[int]:
        return [rank for rank in range(len(self._names)) if rank != self._rank]

    def _run(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self._beat()
            if self.lost is None and not self._own.ending:
                self.lost = self._silent(SILENT_SECONDS) or self._ended_early() or self._orphaned()
                if self.lost is not None:
                    self._end_this_rank()
            self._end_failed_block()

    def _beat(self) -> None:
        self._say(self._own)
        self._read()

    def _say(self, sign: Sign) -> None:
        with self._lock:
            self._own = Sign(self._own.count + 1, sign.ending, sign.ended, sign.words, sign.failed)
            try:
                self._store.set(_key(self._rank), json.dumps(vars(self._own)))
            except RuntimeError:
                self._no_store()

    def _read(self) -> bool:
        """Whether the store still answers. Before all have come, it would not do so for long."""
        if not self._looks:
            return False
        with self._lock:
            try:
                found = self._store.multi_get([_key(rank) for rank in range(len(self._names))])
            except RuntimeError:
                self._no_store()
                return False
        now = time.monotonic()
        for rank, said in enumerate(found):
            sign = Sign(**json.loads(said))
            if sign.count != self._seen[rank].count:
                self._moved[rank] = now
            self._seen[rank] = sign
        return True

    def _no_store(self) -> None:
        if self.lost is None and not self._own.ended:
            self.lost = "the store of MASTER_ADDR is gone: torchrun on that machine, or rank 0, has ended"

    def _gone_or_ended(self, rank: int) -> bool:
        return self._seen[rank].ended or time.monotonic() - self._moved[rank] > GONE_SECONDS

    def _silent(self, seconds: float) -> str | None:
        now = time.monotonic()
        for rank in self._others():
            silent_seconds = now - self._moved[rank]
            if not self._seen[rank].ended and silent_seconds > seconds:
                return (
                    f"{self._names[rank]} is gone: killed, or cut off (no sign of life for "
                    f"{silent_seconds:.0f} s); all ranks end with it"
                )
        return None

    def _ended_early(self) -> str | None:
        for rank in self._others():
            if self._seen[rank].ended and self._seen[rank].words:
                return f"{self._names[rank]} has ended: {self._seen[rank].words}"
        return None

    def _orphaned(self) -> str | None:
        return None if os.getppid() == self._parent else "torchrun has ended on this machine"

    def _end_this_rank(self) -> None:
        """Ask the main thread to end; where it waits for what never comes, end without it."""
        # A shell that starts programs in the background has them ignore Ctrl-C.
        asked_by = signal.SIGTERM if callable(signal.getsignal(signal.SIGTERM)) else signal.SIGINT
        _thread.interrupt_main(asked_by)
        if self._stop.wait(GRACE_SECONDS) or self._own.ending:
            return
        print(f"throughput: {self._names[self._rank]}: {self.lost}", file=sys.stderr, flush=True)
        os._exit(_LOST)

    def _end_failed_block(self) -> None:
        if self._watched is None:
            return
        block, end = self._watched
        if not any(self._seen[rank].failed == block for rank in self._others()):
            return
        now = time.monotonic()
        self._failed_since = self._failed_since or now
        if now - self._failed_since > GRACE_SECONDS:
            self._watched = None
            end()


def _key(rank: int) -> str:
    return f"sign/{rank}"
