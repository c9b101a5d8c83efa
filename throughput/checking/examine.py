"""One piece, read and looked at. Whatever goes wrong is what was seen."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from throughput.checking.ends import DAMAGED, Wrong
from throughput.checking.pictures import BOMB, MEMORY, look_at
from throughput.checking.pieces import Piece
from throughput.checking.shards import UNREADABLE
from throughput.contracts import Source
from throughput.errors import SampleError
from throughput.sources.checksum import CHANGED, checksum
from throughput.sources.remote.retrying import is_server_gone

CHECKSUM = "checksum"
"""The kind of fault of bytes that are not those that were packed."""
MOST_BYTES = 1 << 30
"""Of an encoded image: a file that is larger is none, and would fill the memory."""
_CHUNK_BYTES = 1 << 20


class Seen(NamedTuple):
    """What was seen of a piece. digest: CRC-32, or SHA-256 of a shard, where it was asked for.

    bytes: of the encoded image; 0 for a shard, whose samples are counted by themselves. gone: how the server
    was found gone; then nothing was seen of the piece.
    """

    number: int
    bytes: int
    wrong: Wrong | None = None
    remarks: tuple[str, ...] = ()
    digest: int | str | None = None
    is_sample: bool = True
    gone: str | None = None


def examine(piece: Piece, source: Source | None) -> Seen:
    """Read a piece and look at it. Whatever goes wrong is what was seen."""
    return _examine(piece, source)._replace(is_sample=not piece.is_shard)


def _examine(piece: Piece, source: Source | None) -> Seen:
    try:
        if piece.is_shard:
            assert piece.path is not None
            return Seen(piece.number, 0, digest=_sha256(piece.path))
        data = _read(piece) if source is None else source.read(piece.number)
    except _TooLargeError as error:
        return Seen(piece.number, 0, Wrong(BOMB, str(error)))
    except SampleError as error:
        if is_server_gone(error):
            return Seen(piece.number, 0, gone=str(error))
        kind = CHECKSUM if error.cause == CHANGED else UNREADABLE
        return Seen(piece.number, 0, Wrong(kind, error.cause))
    except OSError as error:
        return Seen(piece.number, 0, Wrong(UNREADABLE, f"cannot be read: {error.strerror}"))
    except MemoryError:
        return Seen(piece.number, 0, Wrong(MEMORY, "it does not fit into the memory that there is"))
    digest = checksum(data) if piece.has_checksum else None
    try:
        wrong, remarks = look_at(data, piece.name)
    except MemoryError:
        wrong, remarks = Wrong(MEMORY, "its pixels do not fit into the memory that there is"), ()
    except Exception as error:  # noqa: BLE001 - one odd image must not end the check of all others
        wrong, remarks = Wrong(DAMAGED, f"looking at it failed: {error!r}"), ()
    return Seen(piece.number, len(data), wrong, remarks, digest)


class _TooLargeError(Exception):
    """More bytes than any image has."""


def _read(piece: Piece) -> bytes:
    assert piece.path is not None
    with _opened(piece.path) as descriptor:
        size = os.fstat(descriptor).st_size if piece.size_bytes is None else piece.size_bytes
        if size > MOST_BYTES:
            raise _TooLargeError(f"its {size} bytes exceed the limit of {MOST_BYTES}")
        parts: list[bytes] = []
        missing = size
        while missing and (part := os.pread(descriptor, missing, piece.offset + size - missing)):
            parts.append(part)
            missing -= len(part)
        if missing and piece.size_bytes is not None:
            raise SampleError(piece.path, f"the shard ends after {size - missing} of {size} bytes")
        return b"".join(parts)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with _opened(path) as descriptor:
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """A regular file. Raises SampleError for what is none: a pipe would be waited for, without end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SampleError(path, "it is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)
