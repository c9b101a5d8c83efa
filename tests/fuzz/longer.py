"""Fuzzes all readers, or those named, for some time: ``longer.py SECONDS [--seed N] [NAME...]``.

Each reader has an equal share of the time, in processes of some hundred cases, each of another seed. Readers
with compiled kernels run once more with bounds checked (NUMBA_BOUNDSCHECK), marked ``+bounds``. Prints a
table, and what went wrong with the command that makes it happen again. Exit status: 1 where anything did.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))  # the code beside these tests

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
    given = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory(prefix="fz-") as scratch:
        runs = list(_runs(given.names, Path(scratch)))
        seconds = given.seconds / len(runs)
        rows = [_row(run, list(_tallies(run, seconds, given.seed, Path(scratch)))) for run in runs]
    widths = [max(len(str(row[place])) for row in (_COLUMNS, *rows)) for place in range(len(_COLUMNS))]
    for row in (_COLUMNS, *rows):
        print("  ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True)))
    sys.exit(any(sum(row[4:]) for row in rows))


class _Run(NamedTuple):
    """Cases of a reader in one environment."""

    label: str
    reader: str
    environment: Mapping[str, str]


def _runs(names: list[str], scratch: Path) -> Iterator[_Run]:
    # What is kept of machine code does not say whether it looks at bounds: it needs its own place.
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(scratch / "checked")}
    for name in names:
        yield _Run(name, name, {})
        if READERS[name].kernels:
            yield _Run(f"{name}+bounds", name, checked)


def _tallies(run: _Run, seconds: float, seed: int, scratch: Path) -> Iterator[Tally]:
    end = time.monotonic() + seconds
    process = 0
    while (left := end - time.monotonic()) > 0:
        number = seed * 100_000 + process
        folder = scratch / f"{run.label}-{number}"
        tally = run_cases(
            run.reader, number, folder, count=_CASES, seconds=min(left, _SLICE_SECONDS),
            environment=run.environment,
        )  # fmt: skip
        if tally.faults:
            print(f"{run.label}: {tally.faults}", file=sys.stderr)
        shutil.rmtree(folder)
        yield tally
        process += 1


def _row(run: _Run, tallies: list[Tally]) -> tuple[str, int, int, int, int, int, int]:
    return (
        run.label,
        sum(one.cases for one in tallies),
        sum(one.refused for one in tallies),
        sum(one.right for one in tallies),
        sum(len(one.wrong) for one in tallies),
        sum(len(one.errors) for one in tallies),
        sum(one.crash is not None for one in tallies),
    )


if __name__ == "__main__":
    main()
