"""Cases in a process of their own, so that its death is seen, and what came of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import throughput

CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class Tally:
    """wrong, errors: (number of the case, what it was). crash: how the process ended, with its case."""

    reader: str
    seed: int
    cases: int = 0
    refused: int = 0
    right: int = 0
    wrong: tuple[tuple[int, str], ...] = ()
    errors: tuple[tuple[int, str], ...] = ()
    crash: str | None = None

    @property
    def faults(self) -> str:
        """In words, with what makes them happen again; empty where there are none."""
        found = [*self.wrong, *self.errors]
        told = [f"{self.again(number)}\n{words}" for number, words in found[:5]]
        if self.crash is not None:
            told.append(self.crash)
        return "\n".join(told)

    def again(self, number: int) -> str:
        """The command of one case."""
        return f"python tests/fuzz/child.py {self.reader} {self.seed} {number} 1 600 FOLDER"


def _path() -> list[str]:
    return [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []


def run_cases(
    reader: str,
    seed: int,
    folder: Path,
    *,
    first: int = 0,
    count: int,
    seconds: float = 600.0,
    environment: Mapping[str, str] | None = None,
) -> Tally:
    """Run cases in a child process, whose cache and temporary folder lie in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {
        **os.environ,
        "THROUGHPUT_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder),
        "PYTHONFAULTHANDLER": "1",
        # What is tested here is what is tested there, wherever another one is installed.
        "PYTHONPATH": os.pathsep.join([str(Path(throughput.__file__).parents[1]), *_path()]),
        **(environment or {}),
    }
    command = [sys.executable, str(CHILD), reader, *map(str, (seed, first, count, seconds)), str(folder)]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        told = json.loads(done.stdout.splitlines()[-1])
        faults = {name: tuple(map(tuple, told.pop(name))) for name in ("wrong", "errors")}
        return Tally(reader, seed, **told, **faults)
    at = folder / "at"
    number = int(at.read_text() or -1) if at.exists() else -1
    tally = Tally(reader, seed, cases=number - first + 1)
    how = f"status {done.returncode} in case {number}: {tally.again(number)}\n{done.stderr[-2000:]}"
    return Tally(reader, seed, cases=tally.cases, crash=how)
