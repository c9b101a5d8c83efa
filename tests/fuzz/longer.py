"""Fuzzes all readers, or those named, for some time: ``longer.py SECONDS [--seed N] [NAME...]``.

Each reader has an equal share of the time, in processes of some hundred cases, each of another seed. Readers
with compiled kernels run once more with bounds checked (NUMBA_BOUNDSCHECK), marked ``+bounds``. Prints a
table, and what went wrong with the command that makes it happen again. Exit status: 1 where anything did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from readers import READERS
from running import Tally, run_cases

_CASES = 2000
"""In one process, at most; a crash ends it."""
_SLICE_SECONDS = 20.0
_COLUMNS = ("reader", "cases", "in words", "right", "silent wrong", "other errors", "crashes")


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("names", nargs="*", default=list(READERS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fz-") as scratch:
        runs = list(_runs(given.names, Path(scratch)))
        rows = [
            _row(
                label, list(_tallies(name, environment, given.seconds / len(runs), given.seed, Path(scratch)))
            )
            for label, name, environment in runs
        ]
    widths = [max(len(str(row[place])) for row in (_COLUMNS, *rows)) for place in range(len(_COLUMNS))]
    for row in (_COLUMNS, *rows):
        print("  ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True)))
    sys.exit(any(sum(row[4:]) for row in rows))


def _runs(names: list[str], scratch: Path) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    for name in names:
        yield name, name, {}
        if READERS[name].kernels:
            # What is kept of machine code does not say whether it looks at bounds: it needs its own place.
            yield f"{name}+bounds", name, {
                "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(scratch / "checked"),
            }  # fmt: skip


def _tallies(
    name: str, environment: Mapping[str, str], seconds: float, seed: int, scratch: Path
) -> Iterator[Tally]:
    end = time.monotonic() + seconds
    first = 0
    while (left := end - time.monotonic()) > 0:
        number = seed * 100_000 + first // _CASES
        tally = run_cases(
            name, number, scratch / f"{name}-{number}", count=_CASES, seconds=min(left, _SLICE_SECONDS),
            environment=environment,
        )  # fmt: skip
        if tally.faults:
            print(f"{name}: {tally.faults}", file=sys.stderr)
        yield tally
        first += _CASES


def _row(label: str, tallies: list[Tally]) -> tuple[str, int, int, int, int, int, int]:
    return (
        label,
        sum(one.cases for one in tallies),
        sum(one.refused for one in tallies),
        sum(one.right for one in tallies),
        sum(len(one.wrong) for one in tallies),
        sum(len(one.errors) for one in tallies),
        sum(one.crash is not None for one in tallies),
    )


if __name__ == "__main__":
    main()
