"""Blocks become a row: passes side by side, peaks, means and worst cases as each number asks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from throughput.measure.merge import merge
from throughput.results import CacheEvidence, EpochCount, LedgerCount, Pass, Phase, Preparation, Row

WAITS = tuple([0.1] * 10)


def phase(rate: float, first_batch_seconds: float = 1.0) -> Phase:
    return Phase((Pass(round(rate), 1.0, 0.1, WAITS),), first_batch_seconds, 0.5)


def epoch(number: int, **changes: object) -> EpochCount:
    whole = EpochCount(number, complete=True, expected=8, unique=8, missing=0, duplicate=0, padded=0)
    return replace(whole, **changes)  # type: ignore[arg-type] # by name


BLOCK = Row(
    "some",
    "ok",
    prepare=Preparation(),
    load=phase(500),
    model=phase(300),
    train=phase(200),
    cpu_utilisation=0.9,
    peak_rss_bytes=100,
    energy_joules=5.0,
    ledger=LedgerCount((epoch(0),)),
)


def test_passes_stand_side_by_side_in_the_order_of_the_rounds() -> None:
    row = merge([replace(BLOCK, train=phase(rate)) for rate in (200, 210, 190)])
    assert row.train is not None
    assert row.train.rates == [200, 210, 190]
    assert row.train.images_per_second.median == 200
    assert row.load is not None
    assert len(row.load.passes) == 3


def test_what_is_measured_once_in_a_block_is_a_median() -> None:
    row = merge([replace(BLOCK, train=phase(200, seconds)) for seconds in (9.0, 1.0, 2.0)])
    assert row.train is not None
    assert row.train.first_batch_seconds == 2.0


def test_usage_is_a_mean_a_peak_or_a_sum() -> None:
    other = replace(BLOCK, cpu_utilisation=0.7, peak_rss_bytes=300, energy_joules=None)
    row = merge([BLOCK, other])
    assert (row.cpu_utilisation, row.peak_rss_bytes, row.energy_joules) == (pytest.approx(0.8), 300, 5.0)


def test_the_cost_of_preparing_is_that_of_the_first_block() -> None:
    made = Preparation(12.0, 1000, "/cache")
    row = merge([replace(BLOCK, prepare=made), replace(BLOCK, prepare=Preparation(0.0, 1000, "/cache"))])
    assert row.prepare == made


def test_every_epoch_of_every_block_is_in_the_ledger() -> None:
    faulty = replace(BLOCK, ledger=LedgerCount((epoch(1), epoch(2, missing=1, unique=7))))
    row = merge([BLOCK, faulty, replace(BLOCK, ledger=LedgerCount((epoch(3),)))])
    assert row.ledger is not None
    assert [one.epoch for one in row.ledger.epochs] == [0, 1, 2, 3]
    assert not row.ledger.exact
    assert row.ledger.worst.missing == 1


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_the_first_block_that_is_not_ok_decides(status: str) -> None:
    broken = Row("some", status, "it broke", bad_input=True)  # type: ignore[arg-type] # one of both
    assert merge([broken]) == broken
    later = merge([BLOCK, broken])
    assert (later.status, later.reason, later.bad_input) == (status, "in round 2: it broke", True)


def test_the_accuracy_is_that_of_the_last_block() -> None:
    assert merge([BLOCK, replace(BLOCK, accuracy=0.7, train_images=640)]).accuracy == 0.7


def test_stalls_are_told_apart_over_all_blocks() -> None:
    cold = CacheEvidence(
        "cold", 1000, 0.001, 900, 1000, phase="train",
        images=300, cold_seconds=5.0, warm_seconds=3.0, startup_seconds=1.0,
    )  # fmt: skip
    row = merge([replace(BLOCK, cache=cold), replace(BLOCK, cache=replace(cold, resident_before=0.004))])
    assert row.cache is not None
    assert (row.cache.resident_before, row.cache.bytes_read) == (0.004, 1800)
    # 600 images, after 2 s of starting: 8 s cold, 4 s warm, 2 s at the model's 300 images/s.
    assert row.cache.fetch_stall_fraction == pytest.approx(0.5)
    assert row.cache.preparation_stall_fraction == pytest.approx(0.25)


def test_a_loader_alone_is_not_differenced_with_the_model() -> None:
    cold = CacheEvidence(
        "cold", 1000, 0.001, 900, 1000, phase="load",
        images=300, cold_seconds=5.0, warm_seconds=3.0, startup_seconds=1.0,
    )  # fmt: skip
    row = merge([replace(BLOCK, cache=cold)])
    assert row.cache is not None
    assert row.cache.fetch_stall_fraction == pytest.approx(0.5)
    assert row.cache.preparation_stall_fraction is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": float("nan")}, "the loss became nan"),
        ({"train": phase(400)}, "133 % of the model alone"),
    ],
)
def test_what_cannot_be_is_remarked_on(changes: dict[str, object], said: str) -> None:
    row = merge([replace(BLOCK, **changes)] * 2)  # type: ignore[arg-type] # by name
    assert any(said in warning for warning in row.warnings)


def test_a_remark_that_comes_again_is_told_once_with_its_rounds() -> None:
    blocks = [
        replace(BLOCK, warnings=(f"others kept {cores} of 2 cores busy: stop them",)) for cores in (0.3, 0.9)
    ]
    told = [warning for warning in merge([*blocks, BLOCK]).warnings if "others" in warning]
    assert told == ["others kept 0.9 of 2 cores busy: stop them (in 2 of 3 rounds)"]
