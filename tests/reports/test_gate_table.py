"""What a gate decided stands above the tables of its runs, the gravest decision first of all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from throughput.judgement import Decision
from throughput.registry import load_report
from throughput.results import GateDecision, Pass, Phase, Results, Row

SLOWER = GateDecision(
    "tests/test_x.py::test_dali[a|b]",
    "slower",
    0.95,
    "dali",
    "train",
    0.8,
    0.75,
    0.85,
    0.99,
    5,
    1_000.4,
    800.2,
)
FINE = replace(SLOWER, test="test_fine", decision="not slower", ratio=1.25, low=1.0, high=123.0)
FAILED = GateDecision("test_gone", "failed", 0.95, reason="head: [red]it[/red] broke")


@pytest.fixture(autouse=True)
def _terminal_of_200_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def rendered(*decisions: GateDecision) -> str:
    """A run for each decision, as a gate makes them."""
    phase = Phase((Pass(100, 1.0, 0.0),))
    rows = tuple(Row(f"dali ({side})", "ok", train=phase) for side in ("base", "head"))
    return load_report("table").render(
        [Results("now", "throughput gate", {}, {"test": one.test}, rows, (), (one,)) for one in decisions]
    )


def cells(text: str, test: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"│ {test} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_each_decision_is_a_row() -> None:
    text = rendered(SLOWER, FINE, FAILED)
    assert cells(text, SLOWER.test) == [
        SLOWER.test, "dali, train", "1,000", "800", "0.800 [0.750, 0.850]", "5", "slower",
    ]  # fmt: skip
    assert cells(text, "test_fine")[4] == "1.250 [1.000, over 100]"
    assert cells(text, "test_gone")[1:] == ["-", "-", "-", "-", "0", "failed"]


def test_the_decisions_of_all_runs_come_first() -> None:
    text = rendered(SLOWER, FINE)
    assert text.startswith("gate: slower (2 tests; head / base must be 0.95 or more; intervals are the wider")
    assert text.index("│ test_fine ") < text.index("│ dali (base) ")
    assert text.count("│ dali (base) ") == 2


def test_every_reason_has_a_line() -> None:
    assert "\ntest_gone: failed: head: [red]it[/red] broke\n" in rendered(SLOWER, FAILED)


@pytest.mark.parametrize(
    ("decisions", "overall"),
    [
        (("not slower", "failed", "slower"), "failed"),
        (("undecided", "slower", "not slower"), "slower"),
        (("not slower", "undecided"), "undecided"),
        (("not slower",), "not slower"),
    ],
)
def test_the_gravest_decision_is_that_of_the_gate(decisions: tuple[Decision, ...], overall: str) -> None:
    text = rendered(*(replace(FINE, decision=decision) for decision in decisions))
    assert text.startswith(f"gate: {overall} (")


def test_a_single_pair_has_no_interval() -> None:
    once = replace(SLOWER, low=None, high=None)
    assert cells(rendered(once), SLOWER.test)[4] == "0.800"


def test_rules_that_differ_are_all_told() -> None:
    text = rendered(SLOWER, replace(FINE, least_ratio=0.9))
    assert "head / base must be 0.9 or 0.95 or more" in text


def test_a_run_without_a_gate_says_nothing_of_one() -> None:
    assert "gate" not in load_report("table").render([Results("now", "bench", {}, {}, ())])
