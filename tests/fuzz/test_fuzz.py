"""Damaged and forged files of every kind: each reader says what is wrong, or gives what is right.

Some seconds of cases in a process for each; ``longer.py`` goes on for as long as one likes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from running import run_cases

SEED = 20_261
CASES = {
    "tar": 400, "index": 300, "samples": 400, "manifest": 300, "arrays": 400, "results": 200,
    "splice": 300, "transcode": 200, "regions": 100, "checkpoint": 150, "weights": 150, "onnx": 200,
}  # fmt: skip
WITHOUT_COMPILER = {"splice": 40, "transcode": 12}
"""Compiled kernels read beyond an array without a word; run as Python, they raise IndexError."""


@pytest.mark.parametrize("reader", CASES)
def test_words_or_the_right_answer(reader: str, tmp_path: Path) -> None:
    tally = run_cases(reader, SEED, tmp_path / "f", count=CASES[reader])
    assert tally.faults == ""
    assert tally.cases == tally.refused + tally.right == CASES[reader]
    # Cases that are all of one kind would show little.
    assert tally.right > 0
    assert tally.refused > 0 or reader == "index"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("wrong", "another answer"), ("crash", "status -6 in case 3"), ("hang", "status -14 in case 3"),
        ("memory", "MemoryError"), ("error", "KeyError"),
    ],
)  # fmt: skip
def test_every_kind_of_fault_is_seen(fault: str, words: str, tmp_path: Path) -> None:
    tally = run_cases("faulty", 1, tmp_path / fault, count=4, environment={"FUZZ_CASE_SECONDS": "0.2"})
    assert words in tally.faults
    assert "child.py faulty 1 3 1" in tally.faults
    assert tally.cases == 4


@pytest.mark.parametrize("reader", WITHOUT_COMPILER)
def test_kernels_stay_within_their_arrays(reader: str, tmp_path: Path) -> None:
    tally = run_cases(
        reader, SEED, tmp_path / "f", count=WITHOUT_COMPILER[reader], environment={"NUMBA_DISABLE_JIT": "1"}
    )
    assert tally.faults == ""
    assert tally.cases == WITHOUT_COMPILER[reader]
