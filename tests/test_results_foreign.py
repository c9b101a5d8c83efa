"""Files of results that nobody's bench wrote: named, or told again, in every format."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_results_reading import PHASE, RESULTS, ROW, written

from throughput.errors import ThroughputError
from throughput.measure.statistics import rate_interval, unpaired_ratio
from throughput.registry import load_report
from throughput.results import Pass, Phase, Rate
from throughput.results_reading import load_results


def test_a_rate_of_0_has_no_share(tmp_path: Path) -> None:
    still = Phase((Pass(0, 2.0, 0.5),))
    row = replace(ROW, model=still)
    assert row.share_of_ceiling is None
    path = written(tmp_path, replace(RESULTS, rows=(row,)))
    read = load_results(path)
    assert read.rows[0].share_of_ceiling is None
    for name in ("table", "markdown", "csv", "junit", "json", "html"):
        assert load_report(name).render([read])
    assert replace(ROW, train=still, model=PHASE).share_of_ceiling == 0


def changed(tmp_path: Path, *keys: Any, value: Any) -> Path:
    path = written(tmp_path, RESULTS)
    record = json.loads(path.read_text())
    holder: Any = record
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = copy.deepcopy(value)
    path.write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("rows", 0, "train", "passes", 0, "images"), 10**400),
        (("rows", 0, "train", "passes", 0, "seconds"), 1e-300),
        (("rows", 0, "train", "passes", 0, "wait_seconds"), 10**400),
        (("rows", 0, "accuracy"), 10**400),
        (("rows", 0, "peak_rss_bytes"), 10**30),
        (("rows", 0, "ledger", "epochs"), []),
        (("rows", 0, "training", "epochs"), []),
        (("rows", 0, "evaluation", "confusion"), [[10**30, 0], [0, 0]]),
        (("rows", 0, "evaluation", "confusion"), [[-1, 0], [0, 0]]),
        (("rows", 0, "evaluation", "subject"), 7),
        (("rows", 0, "evaluation", "loss"), "much"),
        (("rows", 0, "verdict", "suggestions", 0, "measured"), {"median": 1.0, "low": None, "high": 2.0}),
        (("comparisons", 0, "low"), None),
    ],
    ids=lambda given: str(given)[:60],
)
def test_what_cannot_be_is_named(tmp_path: Path, keys: tuple[Any, ...], value: Any) -> None:
    path = changed(tmp_path, *keys, value=value)
    with pytest.raises(ThroughputError) as error:
        load_results(path)
    assert str(path) in str(error.value)


def test_cells_of_a_confusion_matrix_lie_within_it(tmp_path: Path) -> None:
    """A label decides how much memory its counts take."""
    path = written(tmp_path, RESULTS)
    record = json.loads(path.read_text())
    evaluation = record["rows"][0]["evaluation"]
    del evaluation["confusion"]
    for cells in ([[0, 10**12, 1]], [[-1, 0, 1]], [[0, 0, -1]]):
        evaluation["confusion_cells"] = cells
        path.write_text(json.dumps(record))
        with pytest.raises(ThroughputError, match="beyond its classes"):
            load_results(path)


def test_a_loss_that_was_not_finite_comes_back_and_is_told(tmp_path: Path) -> None:
    read = load_results(changed(tmp_path, "rows", 0, "evaluation", "loss", value=None))
    assert read.rows[0].evaluation is not None
    assert math.isnan(read.rows[0].evaluation.metrics.loss)
    assert load_report("markdown").render([read])


def test_rates_that_are_worlds_apart_have_an_interval() -> None:
    low, high = rate_interval([1e-30, 1e30]) or (0, 0)
    assert low < high == math.inf
    ratio = unpaired_ratio([1e-60, 1e60], [1e-60, 1e60])
    assert ratio.value == pytest.approx(1)
    assert ratio.high == math.inf
    assert Rate(1.0, None, None).low is None
