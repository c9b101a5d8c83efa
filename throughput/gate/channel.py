"""Messages between the gate and its two test sessions: JSON objects, a line each, over a pair of sockets.

Base and head may run in different Pythons with different versions of this package: what they say to each
other is text, and begins with ``PROTOCOL``.
"""

from __future__ import annotations

import json
import select
import socket
from typing import Any

PROTOCOL = 3
_CHUNK_BYTES = 1 << 16


class Channel:
    """One end of a conversation."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._pending = b""

    def send(self, **message: Any) -> None:
        """Say something. Raises OSError where the other end is gone."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def has_word(self, timeout_seconds: float) -> bool:
        """Whether the other end says something, or is gone, within that time."""
        return b"\n" in self._pending or bool(select.select([self._socket], [], [], timeout_seconds)[0])

    def receive(self, timeout_seconds: float | None = None) -> dict[str, Any] | None:
        """What the other end says next; None where it is gone. Raises TimeoutError."""
        self._socket.settimeout(timeout_seconds)
        while b"\n" not in self._pending:
            try:
                chunk = self._socket.recv(_CHUNK_BYTES)
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Say no more."""
        self._socket.close()


def pair() -> tuple[Channel, socket.socket]:
    """The gate's end, and the other, to be inherited by a test session: nobody else can reach either."""
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    return Channel(ours), theirs


def inherited(descriptor: int) -> Channel:
    """The arm's end. What the arm starts does not inherit it. Raises OSError where it is no socket."""
    connected = socket.socket(fileno=descriptor)
    connected.set_inheritable(False)
    return Channel(connected)
