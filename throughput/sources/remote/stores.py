"""Where remote files are had from: one small interface over the kinds of servers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from throughput.errors import SourceError
from throughput.sources.remote.retrying import FailedTryError

MOST_SMALL_BYTES = 4 << 30
"""Of a file that is read at once, such as an index: a server shall not ask for any amount of memory."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the server told of it.

    version: changes when the file does: its ETag, or when it was modified. ranged: whether parts of it can be
    asked for.
    """

    address: str
    size_bytes: int
    version: str
    ranged: bool = True

    @property
    def key(self) -> str:
        """A hex digest that tells this version of the file from all others."""
        return _key(self.address, self.size_bytes, self.version)


@lru_cache(maxsize=100_000)
def _key(*facts: object) -> str:
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def too_large() -> FailedTryError:
    """The failure of a small file that is none."""
    return FailedTryError(
        f"it has more than {MOST_SMALL_BYTES >> 20} MiB, and no file of a packing that is read at once has",
        again=False,
        advice="check the address, or upload the file again",
    )


class Store(Protocol):
    """Each method makes one try and raises FailedTryError. Safe from several threads of one process."""

    def look_up(self, address: str) -> RemoteFile:
        """What the server tells of a file."""

    def read(self, file: RemoteFile, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end`` (excluded), all of them."""

    def read_all(self, address: str) -> bytes:
        """The whole of a small file."""

    def stream(self, file: RemoteFile, take: Callable[[bytes], None]) -> None:
        """Hand the whole of a file over, piece by piece."""

    def listed(self, folder: str) -> list[str]:
        """Addresses of the files below a folder; none where the server does not list them."""


def store_of(address: str) -> Store:
    """The store of an address, one of each kind in a process. Raises SourceError for a missing library."""
    scheme = urlsplit(address).scheme.lower()
    return _store("http" if scheme in ("http", "https") else scheme, os.getpid())


@lru_cache
def _store(kind: str, process: int) -> Store:  # noqa: ARG001 - a fork shall not use its parent's connections
    try:
        if kind == "http":
            from throughput.sources.remote.http import HttpStore

            return HttpStore()
        from throughput.sources.remote.objects import ObjectStore

        return ObjectStore(kind)
    except ImportError as error:
        install = "pip install 'throughput[s3]'" if kind == "s3" else "pip install 'fsspec[http]'"
        raise SourceError(f"{kind}:// addresses cannot be read here ({error}): {install}") from error
