"""A process of this package's own, started anew: it imports what this one can, and ends by itself with it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


def start_child(
    module: str, theirs: socket.socket, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start ``python -m module FD PARENT``. theirs: its end of a pair of sockets, FD there.

    environment: its variables, besides the path of this process.
    """
    return subprocess.Popen(
        # -P: what lies in the current folder is imported only if it could be imported here.
        [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        # What libraries print goes to stderr: stdout carries only what was asked for.
        stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
        pass_fds=(theirs.fileno(),),
        # A session of its own: Ctrl-C in the terminal reaches us only.
        start_new_session=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
    )


def dies_with(parent: int) -> bool:
    """Ask to be ended when ``parent`` is, should it be killed; False if it has been already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent
