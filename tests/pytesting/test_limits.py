"""Limits are missed only for certain, and a saved run judges only where it can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from throughput.pytesting.limits import Outcome, judge_rate, judge_ratio, saved_run
from throughput.registry import load_report
from throughput.results import Pass, Phase, Rate, Results, Row

MACHINE = {"cpu_model": "x", "cores_usable": 2, "memory_bytes": 10**9, "gpus": [], "versions": {}}


def run(*rates: int, **work: object) -> Results:
    row = Row("mine", "ok", load=Phase(tuple(Pass(rate, 1.0, 0.0) for rate in rates)))
    return Results(
        "now", "pytest", MACHINE, {"test": "test_a", "mean": (0.5,), "batch_size": 8, **work}, (row,)
    )


@pytest.mark.parametrize(
    ("rate", "outcome"),
    [
        (Rate(90, 80, 99), "missed"),
        (Rate(90, 80, 101), "undecided"),
        (Rate(110, 99, 120), "undecided"),
        (Rate(110, 100, 120), "kept"),
        (Rate(1, None, None), "undecided"),
        (Rate(1000, None, None), "undecided"),
    ],
)
def test_a_rate_is_missed_where_its_whole_interval_lies_below(rate: Rate, outcome: Outcome) -> None:
    assert judge_rate(rate, 100).outcome == outcome


@pytest.mark.parametrize(
    ("rates", "outcome"),
    [((80, 81, 82), "missed"), ((100, 101, 102), "kept"), ((92, 95, 98), "undecided")],
)
def test_a_ratio_is_judged_by_a_saved_run(rates: tuple[int, ...], outcome: Outcome) -> None:
    judged = judge_ratio(run(*rates), run(100, 101, 102), "load", 0.95)
    assert judged.outcome == outcome
    assert "of the saved 101 images/s, and 0.95 is the least" in judged.words


def test_another_machine_or_other_work_is_shown_and_not_judged() -> None:
    slow, saved = run(50, 51), run(100, 101)
    other = replace(saved, environment=MACHINE | {"cpu_model": "y"})
    for one, words in (
        (other, "cpu_model is y in A, x in B"),
        (run(100, 101, batch_size=4), "batch_size is 4"),
    ):
        judged = judge_ratio(slow, one, "load", 0.95)
        assert judged.outcome == "not judged"
        assert "of the saved 100 images/s" in judged.words
        assert words in judged.words


def test_without_a_limit_a_saved_run_is_shown() -> None:
    judged = judge_ratio(run(50, 51), run(100, 101), "load", None)
    assert judged.outcome == "not judged"
    assert judged.words.startswith("0.502 [")


def test_what_a_saved_run_does_not_hold(tmp_path: Path) -> None:
    assert "nothing was named" in str(saved_run(None, "test_a"))
    path = tmp_path / "saved.json"
    path.write_text(load_report("json").render([run(1, 2), run(3, 4, test="test_b")]))
    found = saved_run(path, "test_b")
    assert isinstance(found, Results)
    assert found.work["test"] == "test_b"
    missing = saved_run(path, "test_c")
    assert judge_ratio(run(1, 2), missing, "load", 0.9).outcome == "not judged"
    path.write_text("no JSON")
    with pytest.raises(pytest.UsageError, match="not what"):
        saved_run(path, "test_a")
    failed = replace(run(1, 2), rows=(Row("mine", "failed", "broken"),))
    assert judge_ratio(run(1, 2), failed, "load", 0.9).outcome == "not judged"
