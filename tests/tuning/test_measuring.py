"""What a block's row says of its configuration: a pass, or why it must not be chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from curves import configuration

from throughput.results import EpochCount, LedgerCount, Pass, Phase, Row
from throughput.tuning.limits import Limits
from throughput.tuning.measuring import outcome_of
from throughput.tuning.trial import Trial, trial_of

LIMITS = Limits(memory_bytes=1000, shm_free_bytes=None)
ONE = Pass(100, 2.0, 0.5)
MEASURED = Row(
    "dali", "ok", load=Phase((ONE,)), cpu_utilisation=0.9, peak_rss_bytes=800, warnings=("swapped",)
)


def ledger(missing: int) -> LedgerCount:
    return LedgerCount((EpochCount(0, True, 100, 100 - missing, missing, 0, 0),))


def test_a_pass_is_taken_with_what_it_used() -> None:
    outcome = outcome_of(replace(MEASURED, ledger=ledger(0)), LIMITS)
    assert (outcome.measured, outcome.reason) == (ONE, None)
    assert (outcome.cpu_utilisation, outcome.peak_rss_bytes) == (0.9, 800)
    assert outcome.warnings == ("swapped",)


def test_loader_and_model_together_come_before_the_loader_alone() -> None:
    together = Pass(10, 1.0, 0.0)
    assert outcome_of(replace(MEASURED, train=Phase((together,))), LIMITS).measured == together


@pytest.mark.parametrize(
    ("row", "reason", "kept"),
    [
        (Row("dali", "failed", "a worker died"), "a worker died", False),
        (Row("dali", "skipped", "no GPU"), "no GPU", False),
        (replace(MEASURED, load=Phase((Pass(0, 1.0, 0.0),))), "no image", False),
        (replace(MEASURED, ledger=ledger(1)), "miscounted", True),
        (replace(MEASURED, peak_rss_bytes=801), "more than 80% of", True),
    ],
)
def test_what_must_not_be_chosen_says_why(row: Row, reason: str, kept: bool) -> None:
    outcome = outcome_of(row, LIMITS)
    assert outcome.reason is not None
    assert reason in outcome.reason
    assert (outcome.measured is not None) == kept


def test_blocks_become_a_trial() -> None:
    outcomes = [outcome_of(replace(MEASURED, peak_rss_bytes=peak), LIMITS) for peak in (700, 800, 600)]
    trial = trial_of(configuration(2), outcomes, None)
    assert trial == Trial(configuration(2), (ONE,) * 3, None, pytest.approx(0.9), 800, ("swapped",) * 3)
    assert trial.pooled_rate == 50.0
    rate = trial.images_per_second
    assert rate is not None
    assert (rate.median, rate.low, rate.high) == (50.0, pytest.approx(50.0), pytest.approx(50.0))
    assert trial_of(configuration(2), [], "it died").images_per_second is None
