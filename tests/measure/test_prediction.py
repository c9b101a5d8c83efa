"""What a suggestion brings in must do the same work before it is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from throughput.contracts import Work
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Plan
from throughput.measure.prediction import check_first_suggestion
from throughput.results import Certificate, Check, Pass, Phase, Results, Row, Suggestion, Verdict
from throughput.sources import open_source
from throughput.testing import write_contract_images

RATE = Phase((Pass(100, 1.0, 0.5),))
OTHER = "throughput.testing:FakeLoaderFactory"


@pytest.mark.parametrize(
    "options", [{"loader": OTHER}, {"opt": "torchvision.persistent=0"}], ids=["loader", "option"]
)
def test_what_does_other_work_is_not_measured(tmp_path: Path, options: dict[str, str]) -> None:
    work = Work(open_source(write_contract_images(tmp_path / "images")), batch_size=8)
    plan = Plan("torchvision", work, "cnn_small")
    suggestion = Suggestion("try it", 200.0, 150.0, 250.0, options)
    verdict = Verdict("loader-bound", "slow", 1.0, {}, (suggestion,), ())
    row = Row("torchvision", "ok", load=RATE, model=RATE, train=RATE, verdict=verdict)
    asked: list[Plan] = []

    def refused(asked_for: Plan) -> Certificate:
        asked.append(asked_for)
        return Certificate(False, (Check("val.labels", False, "labels are off by one"),))

    results = Results("now", "throughput bench", {}, {"workers": 1}, (row,))
    # A nursery that was never started can measure nothing.
    (checked,) = check_first_suggestion(results, [plan], Nursery(), refused).rows
    assert len(asked) == 1
    assert checked == replace(row, warnings=checked.warnings)
    (warning,) = checked.warnings
    assert "not tried" in warning
    assert "labels are off by one" in warning


def test_where_nothing_can_be_tried_a_warning_says_so(tmp_path: Path) -> None:
    work = Work(open_source(write_contract_images(tmp_path / "images")), batch_size=8)
    plan = Plan("torchvision", work, "cnn_small")
    row = Row("torchvision", "ok", load=RATE, model=RATE, train=RATE)
    verdict = Verdict("loader-bound", "slow", 1.0, {}, (Suggestion("think", 200.0, 150.0, 250.0, None),), ())
    for one in (row, replace(row, verdict=verdict)):
        results = Results("now", "throughput bench", {}, {"workers": 1}, (one,))
        (checked,) = check_first_suggestion(results, [plan], Nursery(), lambda _: Certificate(True)).rows
        assert "no prediction was checked" in checked.warnings[0]
