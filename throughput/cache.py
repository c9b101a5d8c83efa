"""The cache folder, room on its disk, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from throughput.errors import RoomError

CACHE_LIMIT_BYTES = 5 * 10**9
"""A conversion larger than this is the user's to place: the error names the ``pack`` command."""


def cache_folder(*parts: str) -> Path:
    """``$THROUGHPUT_CACHE`` or ``$XDG_CACHE_HOME/throughput`` or ``~/.cache/throughput``; made if absent."""
    base = os.environ.get("THROUGHPUT_CACHE")
    if not base:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "throughput", *parts)
    else:
        folder = Path(base, *parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RoomError(
            f"cannot make the cache folder {folder}: {error.strerror}; "
            "set THROUGHPUT_CACHE to a folder that can be written"
        ) from error
    return folder


def require_room(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raise RoomError unless the disk of ``folder`` has ``needed_bytes`` to spare."""
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise RoomError(
            f"no room for {purpose}: it needs {needed_bytes / 1e9:.2f} GB "
            f"and {folder} has {free / 1e9:.2f} GB free"
        )


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write under a temporary name beside ``path`` and rename on success; a failure leaves nothing.

    A link is followed; what is no regular file, such as /dev/stdout, is written to as it is. Raises
    RoomError where the disk is full.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; what we write is as readable as any other file of this user.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RoomError(
                f"the disk is full: cannot write {path}; free some room or choose another disk"
            ) from error
        raise
