"""Ctrl-C and requests to end wait for a moment at which all that was seen has been noted."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[int]:
    """A descriptor that can be read once SIGINT or SIGTERM has come; until then neither interrupts anything.

    Only the main thread gets signals: in another one, nothing is changed.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        if threading.current_thread() is not threading.main_thread():
            yield reader.fileno()
            return
        writer.setblocking(False)

        def note(*_: Any) -> None:
            # Waiting is taken up again behind a handler (PEP 475), and finds the descriptor ready.
            with suppress(BlockingIOError):
                writer.send(b"\0")

        before = {one: signal.getsignal(one) for one in _SIGNALS}
        for one in _SIGNALS:
            # A background job of a shell ignores Ctrl-C, and goes on doing so.
            if before[one] is not signal.SIG_IGN:
                signal.signal(one, note)
        try:
            yield reader.fileno()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
