"""Where a user's own code failed, on one line."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from throughput.errors import LoaderError, ThroughputError

_OURS = str(Path(__file__).parent)
_LIBRARIES = tuple(
    path for name in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(name))
)
_FRAME = re.compile(r'^ +File "(.+)", line (\d+)', re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last):"

Place = tuple[str, int]
"""A file and a line in it, from 1."""


@contextmanager
def naming_the_place(target: str) -> Iterator[None]:
    """Turn what goes wrong in the code of ``module:attribute`` into a LoaderError with its file and line.

    An error of this package's own, such as that of a sample that cannot be decoded, stays what it is.
    """
    try:
        yield
    except ThroughputError:
        raise
    except (Exception, SystemExit) as error:
        cause, places = _traced(error)
        place = _users_own(places, target.partition(":")[0])
        where = f" ({place[0]}:{place[1]})" if place else ""
        raise LoaderError(f"{' '.join(cause.split())}{where}") from error


def _traced(error: BaseException) -> tuple[str, list[Place]]:
    """The error with its type, and the places that it came through, outermost first."""
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    told = str(error)
    if f"Original {_TRACEBACK}" not in told:
        return f"{type(error).__name__}: {told}".removesuffix(": "), places
    # torch hands a worker's error over with its traceback as text; the type's name begins its last part.
    last = told.rpartition(_TRACEBACK)[2]
    places += [(file, int(line)) for file, line in _FRAME.findall(last)]
    begin = re.search(r"^\S", last, re.MULTILINE)
    return (last[begin.start() :] if begin else told), places


def _users_own(places: list[Place], module: str) -> Place | None:
    """The last place in the user's code; where there is none, the last one outside this package."""
    loaded = sys.modules.get(module.partition(".")[0])
    home = getattr(loaded, "__file__", None)
    homes = tuple(getattr(loaded, "__path__", ())) or ((home,) if home else ())
    outside = [place for place in places if not place[0].startswith((f"{_OURS}/", "<"))]
    own = [place for place in outside if place[0].startswith(homes) or not place[0].startswith(_LIBRARIES)]
    return next(reversed(own or outside), None)
