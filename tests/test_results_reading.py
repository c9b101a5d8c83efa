"""A file of results becomes the results that were written, and anything else a line that names the place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from throughput.errors import ThroughputError
from throughput.registry import load_report
from throughput.results import (
    CacheEvidence,
    Certificate,
    Check,
    Comparison,
    EpochCount,
    EpochRecord,
    Evaluation,
    GateDecision,
    LedgerCount,
    Parity,
    Pass,
    Phase,
    Preparation,
    Projection,
    Rate,
    Results,
    Row,
    Runtime,
    Suggestion,
    Timeline,
    TrainingRun,
    Usage,
    Verdict,
    Window,
)
from throughput.results_reading import load_results
from throughput.trained import Classification, Regression

PHASE = Phase((Pass(100, 2.0, 0.5, (0.25, 0.25), (0.5, 0.5), (0.0, 1.0)),), 0.7, 0.1)
ROW = Row(
    "fast",
    "ok",
    decode="gpu",
    options={"prefetch": 2},
    prepare=Preparation(1.5, 1000, "folder"),
    load=PHASE,
    model=PHASE,
    train=PHASE,
    accuracy=0.5,
    gpu_utilisation=0.9,
    ledger=LedgerCount(
        (EpochCount(0, complete=True, expected=10, unique=9, missing=1, duplicate=0, padded=0),)
    ),
    certificate=Certificate(False, (Check("val.ids", False, "ids differ", 1.0, 0.0),), seconds=2.0),
    verdict=Verdict(
        "loader-bound",
        "the loader limits",
        0.9,
        {"read": 0.1},
        (Suggestion("more", 2.0, 1.0, 3.0, {"workers": "4"}, Rate(2.5, None, None)),),
        (Projection(10, 1.0, None, None),),
    ),
    cache=CacheEvidence("cold", 100, 0.0, 100, 99, "train", 10, 2.0, 1.0, 0.5, 0.2),
    training=TrainingRun("cnn", {"lr": 0.1}, (EpochRecord(0, 1.0, 2.0, 0.1),), 1, 0, 100),
    evaluation=Evaluation("cnn", ("a", "b"), Classification(0.5, 2, np.array([[0, 0, 3], [1, 0, 2]]), None)),
    runtime=Runtime("onnxruntime", "fp32", "cpu"),
    parity=Parity("torch", 10, 0.1, 0.01, 0.2, 1.0),
    timeline=Timeline((Window("load", 1.0, 2.0),), (Usage(1.5, 0.5, 100, None),)),
    warnings=("look out",),
)
RESULTS = Results(
    "2026-01-01T00:00:00+00:00",
    "throughput bench",
    {"cpu_model": "x", "gpus": []},
    {"batch_size": 8},
    (ROW, Row("gone", "skipped", "no library")),
    (Comparison("a", "b", "train", 0.5, 0.4, 0.6, 3),),
    (GateDecision("test_a", "slower", 0.95, "fast", "load", 0.8, 0.7, 0.9, 0.99, 5, 100.0, 80.0),),
)


def written(folder: Path, results: Results) -> Path:
    path = folder / "results.json"
    path.write_text(load_report("json").render([results]))
    return path


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    read = load_results(written(tmp_path, RESULTS))
    assert read.to_json() == RESULTS.to_json()
    without = replace(read.rows[0], evaluation=None)
    assert without == replace(ROW, evaluation=None)
    assert read.comparisons == RESULTS.comparisons
    assert read.gate == RESULTS.gate


def test_targets_that_are_numbers_come_back(tmp_path: Path) -> None:
    evaluation = Evaluation("cnn", (), Regression(10, 0.5, 0.4, None))
    read = load_results(written(tmp_path, replace(RESULTS, rows=(replace(ROW, evaluation=evaluation),))))
    assert read.rows[0].evaluation == evaluation


def test_many_classes_come_back(tmp_path: Path) -> None:
    classes = tuple(map(str, range(101)))
    metrics = Classification(0.5, 101, np.array([[0, 100, 3], [100, 100, 1]]), 0.5)
    row = replace(ROW, evaluation=Evaluation("cnn", classes, metrics))
    read = load_results(written(tmp_path, replace(RESULTS, rows=(row,))))
    assert read.to_json() == replace(RESULTS, rows=(row,)).to_json()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"created": None}, "created"),
        ({"comparisons": [{"loader": "a"}]}, "comparisons[0].baseline is missing"),
        (
            {"gate": [{"test": "a", "decision": "slow", "least_ratio": 1}]},
            "gate[0].decision cannot be 'slow'",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    path = written(tmp_path, RESULTS)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ThroughputError) as error:
        load_results(path)
    assert place in str(error.value)
    assert str(path) in str(error.value)


def test_keys_of_a_newer_version_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, RESULTS)
    found = json.loads(path.read_text())
    found["rows"][0]["temperature"] = 40
    path.write_text(json.dumps(found))
    assert load_results(path).rows[0].loader == "fast"
