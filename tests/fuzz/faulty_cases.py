"""Readers with every fault that fuzzing is there to find: they show that it would be seen."""

from __future__ import annotations

import os
from pathlib import Path

from judging import Case, Outcome, require
from numpy.random import Generator


def faulty(folder: Path) -> Case:
    """The fault of each case is told by the folder's name, from the third case on."""
    done = 0

    def case(rng: Generator) -> Outcome:  # noqa: ARG001 - as every case
        nonlocal done
        done += 1
        if done < 4:
            return "right"
        fault = folder.name
        require(fault != "wrong", "another answer")
        if fault == "crash":
            os.abort()
        if fault == "hang":
            while True:
                pass
        if fault == "memory":
            bytearray(2 << 30)
        raise KeyError(fault)

    return case
