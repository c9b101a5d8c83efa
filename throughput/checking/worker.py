"""A process that looks at pieces: what a decoder may crash, without the check.

``python -m throughput.checking.worker FD PARENT`` takes pieces from the socket FD, and answers each in turn,
so that whoever sent them knows at which one it died. Both ends are this package, by this user.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from throughput.checking.examine import examine
from throughput.checking.pieces import Piece
from throughput.contracts import Source

READY = "ready"
_PR_SET_PDEATHSIG = 1  # prctl(2)


def _main() -> None:
    """Answer until the socket is closed."""
    handle, parent = (int(argument) for argument in sys.argv[1:])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    # Where memory runs out, this process is the one to go, and the check lives to tell of it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    connection = Connection(handle)
    try:
        source: Source | None = connection.recv()
        connection.send(READY)
        while True:
            pieces: list[Piece] = connection.recv()
            for piece in pieces:
                connection.send(examine(piece, source))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    _main()
