"""Shards that a process keeps open, so that reading a sample is one system call."""

from __future__ import annotations

import os
import resource
from functools import lru_cache

_FEWEST_OPEN, _MOST_OPEN = 64, 1024


class OpenShard:
    """A file descriptor that closes with its last user: a thread may read while another drops it."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        # Absent where opening failed.
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _most_open() -> int:
    """How many shards a process keeps open: a quarter of the files that it may, within reason."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return _MOST_OPEN
    return min(max(most // 4, _FEWEST_OPEN), _MOST_OPEN)


@lru_cache(maxsize=_most_open())
def open_shard(path: str, fingerprint: str) -> OpenShard:  # noqa: ARG001 - a shard that changed is opened anew
    """An open shard of this process. A fork inherits it, which is safe: pread has no position to share."""
    return OpenShard(path)
