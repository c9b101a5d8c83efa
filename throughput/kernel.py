"""Python functions compiled to machine code by numba: no compiler is needed where this is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` at its first call for the types that it gets; it runs without the GIL.

    The machine code is kept beside the module, or in the user's cache folder where that cannot be written,
    so that only the first process on a machine pays for compiling. Kernels carry no annotations: numba
    infers machine integers, which Python's annotations cannot tell apart.
    """
    # Products may join sums in one rounding; nothing else of the arithmetic is loosened.
    compiling = {"nogil": True, "fastmath": {"contract"}}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **compiling)(function)
    except RuntimeError:  # no folder at all can be written: every process compiles for itself
        compiled = numba.njit(**compiling)(function)
    return compiled
