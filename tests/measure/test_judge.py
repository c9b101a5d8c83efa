"""Which rows may stand beside others, and which are all that they claim."""

from __future__ import annotations

from dataclasses import replace

import pytest

from throughput.measure.judge import is_proved, is_ranked, judge
from throughput.measure.suggestions import Possible
from throughput.results import (
    CacheEvidence,
    Certificate,
    EpochCount,
    LedgerCount,
    Pass,
    Phase,
    Results,
    Row,
)

EXACT = EpochCount(0, complete=True, expected=8, unique=8, missing=0, duplicate=0, padded=0)
LOST = replace(EXACT, unique=7, missing=1)
WORK = {"workers": 2, "device": "cpu", "train_images": 8, "batch_size": 8, "compute_dtype": "float32"}


def phase(rate: int) -> Phase:
    return Phase(tuple(Pass(rate + number, 1.0, 0.0) for number in range(3)))


ROW = Row(
    "torchvision",
    "ok",
    load=phase(500),
    model=phase(300),
    train=phase(200),
    ledger=LedgerCount((EXACT,)),
    certificate=Certificate(True),
)


@pytest.mark.parametrize(
    ("changes", "ranked", "proved"),
    [
        ({}, True, True),
        ({"certificate": Certificate(None)}, True, False),
        ({"certificate": None}, True, False),
        ({"certificate": Certificate(False)}, False, False),
        ({"ledger": LedgerCount((LOST,))}, False, False),
        ({"ledger": LedgerCount((EXACT,), mislabelled=1)}, False, False),
        ({"held_out_ledger": LedgerCount((LOST,))}, True, False),
        ({"status": "failed"}, False, False),
        ({"loader": "replay", "ledger": None, "certificate": Certificate(None)}, False, True),
    ],
)
def test_what_is_ranked_and_what_is_proved(changes: dict[str, object], ranked: bool, proved: bool) -> None:
    row = replace(ROW, **changes)  # type: ignore[arg-type] # by name
    assert (is_ranked(row), is_proved(row)) == (ranked, proved)


def judged(*rows: Row) -> Results:
    return judge(Results("now", "throughput bench", {}, WORK, rows), Possible())


def test_a_ceiling_is_no_baseline() -> None:
    replay = replace(ROW, loader="replay", train=phase(300), ledger=None, certificate=Certificate(None))
    results = judged(ROW, replace(ROW, loader="dali", train=phase(220)), replay)
    assert {(one.loader, one.baseline) for one in results.comparisons} == {("torchvision", "dali")}


def test_each_row_that_was_measured_has_a_verdict() -> None:
    results = judged(ROW, Row("dali", "skipped", "no library"))
    assert results.rows[0].verdict is not None
    assert results.rows[1].verdict is None


def test_a_cold_pass_is_no_steady_rate_and_gets_no_verdict() -> None:
    cold = CacheEvidence("cold", 1000, 0.0, 1000, 1000)
    (row,) = judged(replace(ROW, cache=cold)).rows
    assert row.verdict is None
