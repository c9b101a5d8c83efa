"""What ended a worker process, in words that help: torch tells no more than that it is gone."""

from __future__ import annotations

import shutil

import psutil

from throughput.measure.environment import SHM

_KILLED = ("signal: Killed", "exited unexpectedly")
_NO_ROOM = ("us error", "No space left", "shared memory", "unable to resize file", "unable to allocate")
NO_SOCKET = "a worker cannot make the socket by which it hands over its batches"
"""How an error begins that needs no more words."""
_LESS = "Choose fewer --workers, a smaller --batch, or less prefetch."


def is_a_death(error: BaseException) -> bool:
    """Whether torch says by this that a worker of a DataLoader died.

    It may say so anywhere: it raises from a handler of SIGCHLD.
    """
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")


def why_died(said: str) -> str:
    """What torch says of a worker that died, what most likely ended it, and the memory that there is."""
    told = " ".join(said.strip().splitlines()[-1:] if "Traceback" in said else said.split())
    if NO_SOCKET in told:
        return told.removeprefix("RuntimeError: ")
    if any(sign in told for sign in _KILLED):
        return f"{told}: the system ends processes so when memory runs out; {memory_words()}. {_LESS}"
    if any(sign in told for sign in _NO_ROOM):
        return f"{told}: its batches had no room in shared memory; {memory_words()}. {_LESS}"
    return told


def memory_words() -> str:
    """How much memory, and how much of it to share, there is at this moment."""
    free = f"{psutil.virtual_memory().available / 1e9:.1f} GB of memory are free now"
    if not SHM.exists():
        return free
    shared_memory = shutil.disk_usage(SHM)
    return f"{free}, and {shared_memory.free / 1e9:.1f} of {shared_memory.total / 1e9:.1f} GB of {SHM}"
