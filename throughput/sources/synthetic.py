"""Folders of synthetic photos: what a first run measures where the user has named no data."""

from __future__ import annotations

import errno
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from throughput.cache import cache_folder, require_room, usual_mode
from throughput.contracts import Progress, no_progress
from throughput.errors import OptionError, RoomError
from throughput.measure.environment import usable_cores
from throughput.sources.photo import Noise, make_noise, render_photo
from throughput.threads import in_threads

DEFAULT_COUNT = 1024
DEFAULT_CLASSES = 16

_VERSION = 1
"""Part of the default set's folder name: raise it when the photos change."""
_BYTES_PER_PHOTO = 125_000
"""A little over the mean, to ask the disk for."""
_MOST_THREADS = 16
"""More would wait for the interpreter's lock rather than paint."""


@dataclass(frozen=True)
class Synthesised:
    """What was written: number of photos, their encoded bytes together, and the time it took."""

    samples: int
    bytes: int
    seconds: float


def write_synthetic(
    out: Path,
    *,
    count: int = DEFAULT_COUNT,
    classes: int = DEFAULT_CLASSES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Synthesised:
    """Write ``count`` photo-like JPEGs as OUT/class_00/000000.jpg and so on, all of them or none.

    A photo's bytes depend on ``seed``, its index and ``classes`` alone. Classes take turns, so they
    differ by one photo at most. Raises OptionError where an option cannot work or ``out`` is not empty,
    RoomError where the disk is full.
    """
    start = time.perf_counter()
    _check(count, classes, seed)
    with _whole_folder(out, count * _BYTES_PER_PHOTO) as folder:
        homes = [folder / f"class_{label:0{max(2, len(str(classes - 1)))}d}" for label in range(classes)]
        for home in homes:
            home.mkdir()
        write = partial(_write_photo, homes, make_noise(), seed)
        written_bytes = 0
        # Threads, not processes: nearly all the time goes to numpy and libjpeg, which release the
        # interpreter's lock, and threads neither fork a threaded caller nor import its script again.
        with closing(in_threads(write, range(count), min(_MOST_THREADS, usable_cores()))) as written:
            for done, size_bytes in enumerate(written, start=1):
                written_bytes += size_bytes
                progress("making synthetic photos", done, count)
    return Synthesised(count, written_bytes, time.perf_counter() - start)


def default_source_folder(progress: Progress = no_progress) -> Path:
    """The default set in the cache folder, made by whoever asks first. Raises RoomError."""
    folder = cache_folder("synthetic") / f"photos-{_VERSION}"
    if not _holds_something(folder):
        try:
            write_synthetic(folder, progress=progress)
        except OptionError:
            # Another process may have been faster: its set is the same one.
            if not _holds_something(folder):
                raise
    return folder


def _check(count: int, classes: int, seed: int) -> None:
    if count < 1:
        raise OptionError(f"--count must be a whole number of 1 or more, got {count!r}")
    if not 1 <= classes <= count:
        raise OptionError(f"--classes must be in 1..{count} (one photo a class, at least), got {classes!r}")
    if seed < 0:
        raise OptionError(f"--seed must be a whole number of 0 or more, got {seed!r}")


def _write_photo(homes: list[Path], noise: Noise, seed: int, index: int) -> int:
    """Write one photo and return its size in bytes."""
    label = index % len(homes)
    encoded = render_photo(noise, seed, index, label, len(homes))
    return (homes[label] / f"{index:06d}.jpg").write_bytes(encoded)


@contextmanager
def _whole_folder(out: Path, needed_bytes: int) -> Iterator[Path]:
    """Yield a temporary folder beside ``out`` that becomes ``out`` on success; a failure leaves nothing."""
    out = out.absolute()
    try:
        if _holds_something(out):
            raise OptionError(f"{out} exists and is not empty: name a new folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        require_room(out.parent, needed_bytes, "the synthetic photos")
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise OptionError(f"cannot write in {out.parent}: {error.strerror}; name another folder") from error
    try:
        yield folder
        # mkdtemp makes folders private; this one is as readable as any other of this user.
        folder.chmod(usual_mode(out, 0o777))
        _rename(folder, out)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RoomError(
                f"the disk is full: cannot write {out}; free some room or choose another disk"
            ) from error
        raise
    finally:
        # After a success the name is gone and there is nothing to remove.
        shutil.rmtree(folder, ignore_errors=True)


def _rename(folder: Path, out: Path) -> None:
    """Give the finished folder its name; an empty folder of that name is replaced, any other is not."""
    try:
        folder.rename(out)
    except OSError as error:
        raise OptionError(
            f"cannot put the photos at {out}: {error.strerror}; name a folder that does not exist yet"
        ) from error


def _holds_something(path: Path) -> bool:
    """Whether a file, or a folder with anything in it, lies at ``path``."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))
