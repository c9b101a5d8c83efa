"""Runs cases of one reader in this process: ``child.py READER SEED FIRST COUNT SECONDS FOLDER``.

Case K of a seed is the same in every run. The number of the case that runs is kept in ``FOLDER/at``, for
whoever finds this process dead. Prints a JSON object of what came out.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
import zlib
from pathlib import Path

import numpy as np
from judging import WrongError
from readers import FAULTY, READERS

CASE_SECONDS = float(os.environ.get("FUZZ_CASE_SECONDS", "30"))
"""A case takes milliseconds; without compiled kernels up to some seconds."""
MORE_BYTES = 1 << 30
"""A case may ask for no more: the files are of a few thousand bytes."""
_WARM = 2


def main(name: str, seed: int, first: int, count: int, seconds: float, folder: Path) -> None:
    """Run the cases, or as many as fit into ``seconds``."""
    reader = {FAULTY.name: FAULTY, **READERS}[name]
    case = reader.made(folder)
    told: dict[str, object] = {"cases": 0, "refused": 0, "right": 0, "wrong": [], "errors": []}
    at = os.open(folder / "at", os.O_RDWR | os.O_CREAT, 0o600)
    end = 0.0
    for number in range(first, first + count):
        if number == first + _WARM:  # libraries are loaded and kernels compiled: from here on it is bounded
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MORE_BYTES, resource.RLIM_INFINITY))
            end = time.monotonic() + seconds
        elif number > first + _WARM and time.monotonic() > end:
            break
        os.pwrite(at, b"%12d" % number, 0)
        signal.setitimer(signal.ITIMER_REAL, CASE_SECONDS if number >= first + _WARM else 20 * CASE_SECONDS)
        # The name's number, not its hash, which differs from process to process.
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
        try:
            outcome = case(rng)
            told[outcome] += 1  # type: ignore[operator] # it is a number
        except WrongError as error:
            told["wrong"].append((number, str(error)[:500]))  # type: ignore[attr-defined] # it is a list
        except BaseException:  # noqa: BLE001 - whatever it is, the reader should not have raised it
            told["errors"].append((number, traceback.format_exc()[-1500:]))  # type: ignore[attr-defined]
        told["cases"] += 1  # type: ignore[operator]
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5]), Path(sys.argv[6]))
