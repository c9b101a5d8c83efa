"""The JSON is strict: any parser reads it, and it says what ``Results.to_json`` says."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from throughput.registry import load_report
from throughput.results import Pass, Phase, Results, Row


def results(*rows: Row) -> Results:
    return Results("now", "throughput bench", {"gpus": []}, {"mean": (0.5,)}, rows)


def rendered(*rows: Row) -> str:
    return load_report("json").render([results(*rows)])


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


def test_it_reads_back_as_the_results() -> None:
    row = Row("fast", "ok", load=Phase((Pass(100, 2.0, 0.1, (0.1,)),)), accuracy=0.5)
    text = rendered(row)
    read = json.loads(text)
    assert read["schema"] == 1
    assert read["rows"][0]["load"]["images_per_second"] == {"median": 50.0, "low": None, "high": None}
    assert read["work"] == {"mean": [0.5]}
    assert text.endswith("}\n")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_null(loss: float) -> None:
    text = rendered(Row("diverged", "ok", loss=loss, options={"rates": [loss, 1.0]}))
    (row,) = json.loads(text, parse_constant=refuse)["rows"]
    assert row["loss"] is None
    assert row["options"] == {"rates": [None, 1.0]}


def test_several_runs_are_a_list() -> None:
    one = results(Row("fast", "ok"))
    assert json.loads(load_report("json").render([one, one])) == [json.loads(rendered(*one.rows))] * 2


def test_text_of_any_kind_passes() -> None:
    reason = 'a "quoted" path\\with\nnewline, ünïcode and \udc80'
    assert json.loads(rendered(Row("x", "failed", reason)))["rows"][0]["reason"] == reason
