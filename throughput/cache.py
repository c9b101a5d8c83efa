"""The cache folder, room on its disk, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from throughput.errors import CacheError, RoomError

CACHE_LIMIT_BYTES = 5 * 10**9
"""A conversion larger than this is the user's to place: the error names the ``pack`` command."""


_BY_OTHERS = 0o022
"""Permission bits by which the group or anybody may write."""
_OWNERS_ALONE = 0o700


def cache_folder(*parts: str) -> Path:
    """``$THROUGHPUT_CACHE`` or ``$XDG_CACHE_HOME/throughput`` or ``~/.cache/throughput``; made if absent.

    Raises RoomError where it cannot be made, CacheError where it is not this user's alone to write to.
    """
    base = _base()
    folder = base.joinpath(*parts)
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        for step in (base, *(base.joinpath(*parts[:number]) for number in range(1, len(parts) + 1))):
            step.mkdir(mode=_OWNERS_ALONE, exist_ok=True)
            require_own(step)
    except OSError as error:
        raise RoomError(
            f"cannot make the cache folder {folder}: {error.strerror}; "
            "set THROUGHPUT_CACHE to a folder that can be written"
        ) from error
    return folder


def _base() -> Path:
    """The cache folder itself, which need not be there. Raises RoomError for a user without a home."""
    base = os.environ.get("THROUGHPUT_CACHE")
    if base:
        return Path(base)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "throughput")
    except RuntimeError as error:
        raise RoomError(f"no place for the cache folder ({error}): set THROUGHPUT_CACHE to one") from error


def keep_compiled_code() -> None:
    """Have torch.compile keep its code for later processes in the cache folder, unless it is told where.

    It is code that will be run: in torch's own place, a name in /tmp that anybody can guess, others could lay
    it down. Call it before torch._dynamo is imported, which settles the place.
    """
    with suppress(RoomError, CacheError):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder("compiled")))


def require_own(path: Path) -> None:
    """Raise CacheError where somebody else could have made a file or folder in the cache, or altered it.

    What lies there is used without another look, so it must be this user's or root's, and no group's. A link
    counts with what it leads to. Raises OSError for what is not there.
    """
    status = path.stat()
    others = {path.lstat().st_uid, status.st_uid} - {os.geteuid(), 0}
    if others:
        raise CacheError(
            f"{path} in the cache belongs to another user (uid {min(others)}), who may have put anything "
            "there: set THROUGHPUT_CACHE to a folder of your own"
        )
    if status.st_mode & _BY_OTHERS:
        raise CacheError(
            f"others may write to {path} in the cache (mode {stat.S_IMODE(status.st_mode):o}): remove it, "
            f"run `chmod go-w {path}` if you trust what it holds, or set THROUGHPUT_CACHE to another folder"
        )


def usual_mode(path: Path, most: int) -> int:
    """Permissions of a new file (``most`` 0o666) or folder (0o777): in the cache its owner's alone, elsewhere
    as the user wants files."""
    with suppress(RoomError):
        if path.resolve().is_relative_to(_base().resolve()):
            return most & _OWNERS_ALONE
    umask = os.umask(0)
    os.umask(umask)
    return most & ~umask


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
        Path(temporary).chmod(usual_mode(path, 0o666))
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RoomError(
                f"the disk is full: cannot write {path}; free some room or choose another disk"
            ) from error
        raise
