"""Standard output holds only what was asked for, whatever a library prints on it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Meanwhile send what Python code and C libraries of this process print on stdout to stderr.

    The file descriptor itself is redirected, for all threads. A child process started meanwhile keeps
    the redirection.
    """
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        # sys.stdout need not be the descriptor: a caller may have replaced it.
        with redirect_stdout(sys.stderr):
            yield
    finally:
        # C has a buffer of its own, which must be emptied while the redirection stands.
        ctypes.CDLL(None).fflush(None)
        os.dup2(saved, 1)
        os.close(saved)
