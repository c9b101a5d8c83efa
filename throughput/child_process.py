"""Processes that this one starts: of this package's own, which import what this one can and end by
themselves with it, and workers of loaders.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)
_SOCKET_NAME_BYTES = 103  # unix(7): 108 with the zero at its end; 104 on macOS
_SOCKET_OF_A_WORKER = "/tp-12345678/pymp-12345678/listener-12345678"
"""How multiprocessing names a socket in a folder of ours."""


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


_heard: list[Any] = []
"""Who hears of children that end, where nobody does just now."""


def children_may_end() -> None:
    """This process is asked to end, as its children may be: from now on their end is no news.

    torch tells of a worker that a signal ended by an error of its own, at whatever place Python is just then.
    """
    before = signal.signal(signal.SIGCHLD, _no_news)
    if before is not _no_news:
        _heard[:] = [before]


@contextmanager
def children_heard_again() -> Iterator[None]:
    """On leaving, the end of children is news as it was before ``children_may_end``: in the main thread,
    which alone gets signals.
    """
    try:
        yield
    finally:
        if _heard and signal.getsignal(signal.SIGCHLD) is _no_news:
            signal.signal(signal.SIGCHLD, _heard.pop())


def _no_news(*_: object) -> None:
    pass


def short_temporary_folder() -> str:
    """Where a new temporary folder may lie so that workers can name a socket in it.

    A worker without one hands over no batch, and torch waits for it without end.
    """
    own = tempfile.gettempdir()
    room = _SOCKET_NAME_BYTES - len(_SOCKET_OF_A_WORKER)
    for folder in (own, "/tmp", "/var/tmp"):  # only folders with random names are made there
        if len(os.fsencode(folder)) <= room and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return own


def folder_of_sockets() -> str:
    """Where multiprocessing makes the sockets of this process, or a folder for them."""
    found: str | None = _own_config().get("tempdir")
    return tempfile.gettempdir() if found is None else found


def _own_config() -> dict[str, Any]:
    """What multiprocessing keeps of this process, and hands to those that it starts: no public way tells."""
    config: dict[str, Any] = vars(multiprocessing.current_process())["_config"]
    return config


@contextmanager
def sockets_together() -> Iterator[None]:
    """Within, sockets of this process and of its workers lie in one folder, gone in the end.

    multiprocessing would give each process a folder, which a worker that is killed leaves behind.
    """
    config = _own_config()
    before = config.get("tempdir")
    place = short_temporary_folder()
    with tempfile.TemporaryDirectory(prefix="tp-", dir=place, ignore_cleanup_errors=True) as folder:
        config["tempdir"] = folder
        try:
            yield
        finally:
            config["tempdir"] = before
