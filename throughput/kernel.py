"""Python functions compiled to machine code by numba: no compiler is needed where this is installed."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numba

from throughput.cache import cache_folder
from throughput.errors import RoomError

_DIGITS = 12


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` at its first call for the types that it gets; it runs without the GIL.

    The machine code is kept beside the module, or in the user's cache folder where that cannot be written,
    so that only the first process on a machine pays for compiling. Kernels carry no annotations: numba
    infers machine integers, which Python's annotations cannot tell apart.
    """
    # Machine code holds that of the kernels which it calls, and numba looks at the caller's file only. It
    # names what it keeps by the function's name, so this is found for as long as no kernel changes.
    function.__qualname__ = f"{function.__qualname__}_{_digest()}"
    # Products may join sums in one rounding; nothing else of the arithmetic is loosened.
    compiling = {"nogil": True, "fastmath": {"contract"}}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **compiling)(function)
    except RuntimeError:  # no folder at all can be written: every process compiles for itself
        compiled = numba.njit(**compiling)(function)
    return compiled


@cache
def _digest() -> str:
    """Of this package's version and of all its files that hold kernels, or what they are made of."""
    try:
        digest = hashlib.sha256(version("throughput").encode())
    except PackageNotFoundError:  # run from its sources
        digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        data = path.read_bytes()
        if b"numba" in data or b"throughput.kernel" in data:
            digest.update(b"%s %d " % (path.name.encode(), len(data)) + data)
    return digest.hexdigest()[:_DIGITS]


@contextmanager
def one_process_compiles() -> Iterator[None]:
    """Of processes that begin together one compiles, and the others find what it kept."""
    try:
        descriptor = os.open(cache_folder() / "kernels.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, RoomError):  # each for itself
        yield
        return
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):  # a process that was forked meanwhile must not hold on to it
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
