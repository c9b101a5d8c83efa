"""Statistics are derived from raw passes; the JSON keeps the names that consumers rely on."""

from __future__ import annotations

import pytest

from throughput.measure.statistics import rate_interval
from throughput.results import (
    EpochCount,
    LedgerCount,
    Pass,
    Phase,
    Preparation,
    Rate,
    Results,
    Row,
)


def phase(*rates: float, waits: tuple[float, ...] = ()) -> Phase:
    return Phase(tuple(Pass(int(rate * 2), 2.0, 0.5, waits) for rate in rates))


def test_the_rate_is_the_median_pass_with_the_interval_of_all_passes() -> None:
    rate = phase(100, 400, 300).images_per_second
    assert rate == Rate(300, *rate_interval([100, 400, 300]))
    assert rate.low < 100
    assert rate.high > 400, "three passes do not bound the rate"


def test_a_single_pass_has_no_spread() -> None:
    assert phase(100).images_per_second == Rate(100, None, None)


def test_the_wait_fraction_is_of_all_time_and_not_the_mean_of_fractions() -> None:
    assert Phase((Pass(1, 1.0, 1.0), Pass(1, 9.0, 1.0))).wait_fraction == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("waits", "p50", "p99"),
    [
        ((3.0,), 3, 3),
        ((1.0, 2.0), 1, 2),
        ((3.0, 1.0, 2.0), 2, 3),
        (tuple(map(float, range(100, 0, -1))), 50, 99),
        (tuple(map(float, range(1, 102))), 51, 100),
        (tuple(map(float, range(1, 1001))), 500, 990),
    ],
)
def test_waits_are_ranked_by_nearest_rank(waits: tuple[float, ...], p50: float, p99: float) -> None:
    assert phase(1, waits=waits).wait_ms == {"p50": 1000 * p50, "p99": 1000 * p99}


def test_waits_of_all_passes_are_ranked_together() -> None:
    together = Phase((Pass(1, 1, 0, (1.0, 5.0)), Pass(1, 1, 0, (2.0,))))
    assert together.wait_ms == {"p50": 2000, "p99": 5000}


def test_without_waits_there_are_no_percentiles() -> None:
    assert phase(1).wait_ms is None


def test_the_share_of_the_ceiling_needs_both_rates() -> None:
    assert Row("x", "ok", train=phase(50), model=phase(200)).share_of_ceiling == 0.25
    assert Row("x", "ok", train=phase(50)).share_of_ceiling is None
    assert Row("x", "ok", model=phase(50)).share_of_ceiling is None


LEDGER = LedgerCount(
    (
        EpochCount(0, complete=True, expected=10, unique=10, missing=0, duplicate=0, padded=2),
        EpochCount(1, complete=True, expected=10, unique=9, missing=1, duplicate=3, padded=0),
        EpochCount(2, complete=False, expected=10, unique=4, missing=None, duplicate=0, padded=0),
    )
)
FULL = Row(
    "fast",
    "ok",
    decode="gpu",
    options={"prefetch": 2},
    prepare=Preparation(1.5, 1000),
    load=phase(100, 120),
    model=phase(200),
    train=Phase((Pass(100, 2.0, 0.5, (0.25, 0.25)),), first_batch_seconds=0.7, epoch_gap_seconds=0.1),
    accuracy=0.5,
    ledger=LEDGER,
)


def results(*rows: Row) -> Results:
    return Results(
        "2026-01-01T00:00:00+00:00", "throughput bench", {"cpu_model": "x"}, {"batch_size": 8}, rows
    )


def test_the_object_holds_the_names_of_schema_1() -> None:
    written = results(FULL).to_json()
    assert set(written) >= {"schema", "created", "command", "environment", "work", "rows"}
    assert written["schema"] == 1
    (row,) = written["rows"]
    assert set(row) >= {
        "loader",
        "status",
        "reason",
        "decode",
        "prepare",
        "load",
        "model",
        "train",
        "accuracy",
        "gpu_utilisation",
        "cpu_utilisation",
        "peak_rss_bytes",
        "gpu_memory_bytes",
        "ledger",
        "certificate",
        "verdict",
    }
    assert row["prepare"].items() >= {"seconds": 1.5, "bytes": 1000}.items()
    low, high = rate_interval([100, 120])
    assert row["load"]["images_per_second"] == {"median": 110, "low": low, "high": high}
    assert row["model"]["images_per_second"] == {"median": 200, "low": None, "high": None}
    train = row["train"]
    assert train["wait_fraction"] == 0.25
    assert train["first_batch_seconds"] == 0.7
    assert train["wait_ms"] == {"p50": 250, "p99": 250}
    (written_pass,) = train["passes"]
    assert written_pass.items() >= {"images": 100, "seconds": 2.0, "wait_seconds": 0.5}.items()


def test_the_ledger_is_summed_up_by_its_worst_complete_epoch() -> None:
    (row,) = results(FULL).to_json()["rows"]
    wanted = {"expected": 10, "unique": 9, "missing": 1, "duplicate": 3, "padded": 0, "corrupt": 0}
    assert row["ledger"].items() >= wanted.items()
    assert row["ledger"]["exact"] is False
    assert [epoch["missing"] for epoch in row["ledger"]["epochs"]] == [0, 1, None]


def test_what_was_not_measured_is_null_and_there() -> None:
    (row,) = results(Row("gone", "skipped", "no library")).to_json()["rows"]
    assert row.pop("loader") == "gone"
    assert row.pop("status") == "skipped"
    assert row.pop("reason") == "no library"
    assert {name: value for name, value in row.items() if value} == {}
    assert row["train"] is None
    assert row["ledger"] is None
    assert row["accuracy"] is None
    assert set(row) | {"loader", "status", "reason"} == set(results(FULL).to_json()["rows"][0])


def test_an_epoch_count_is_exact_only_without_any_fault() -> None:
    clean = {
        "epoch": 0,
        "complete": True,
        "expected": 1,
        "unique": 1,
        "missing": 0,
        "duplicate": 0,
        "padded": 0,
    }
    assert EpochCount(**clean).exact
    assert EpochCount(**{**clean, "padded": 5}).exact
    assert EpochCount(**{**clean, "expected": 2, "corrupt": 1}).exact, (
        "a bad sample that was named is not missing"
    )
    for fault in ("missing", "duplicate", "unexpected"):
        assert not EpochCount(**{**clean, fault: 1}).exact
