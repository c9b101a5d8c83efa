"""The CSV is one rectangle that any reader takes: a line for each phase, plain numbers, harmless text."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import pytest

from throughput.registry import load_report
from throughput.results import (
    Certificate,
    Check,
    EpochCount,
    LedgerCount,
    Pass,
    Phase,
    Results,
    Row,
    Runtime,
    Verdict,
)

WORK = {
    "source": "/data/photos", "batch_size": 64, "image_size": 224, "workers": 2, "model": "cnn_small",
    "compute_dtype": "float32", "device": "cpu",
}  # fmt: skip
EXACT = LedgerCount((EpochCount(0, complete=True, expected=9, unique=9, missing=0, duplicate=0, padded=0),))
LOAD = Phase((Pass(100, 2.0, 1.0, (0.25, 0.5)), Pass(100, 2.0, 1.0)), 0.75, 0.125)
OK = Row(
    "dali",
    "ok",
    decode="gpu",
    load=LOAD,
    train=Phase((Pass(100, 4.0, 1.0),)),
    accuracy=0.5,
    load_cpu_utilisation=0.25,
    cpu_utilisation=0.75,
    gpu_utilisation=0.875,
    peak_rss_bytes=10**9,
    gpu_memory_bytes=2 * 10**9,
    ledger=EXACT,
    certificate=Certificate(True),
    verdict=Verdict("loader-bound", "the loader limits", None),
)


def run(*rows: Row, **work: object) -> Results:
    return Results("2026-01-02T03:04:05+00:00", "throughput bench", {}, WORK | work, rows)


def lines(*runs: Results) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(load_report("csv").render(runs)), strict=True))


def test_each_phase_is_a_line_with_its_figures() -> None:
    load, train = lines(run(OK))
    expected = {
        "created": "2026-01-02T03:04:05+00:00", "source": "/data/photos", "loader": "dali", "status": "ok",
        "reason": "", "decode": "gpu", "batch_size": "64", "image_size": "224", "workers": "2",
        "model": "cnn_small", "compute_dtype": "float32", "device": "cpu", "phase": "load", "passes": "2",
        "images_per_second": "50.0", "wait_fraction": "0.5", "wait_p50_ms": "250.0", "wait_p99_ms": "500.0",
        "first_batch_seconds": "0.75", "epoch_gap_seconds": "0.125", "cpu_utilisation": "0.25",
        "gpu_utilisation": "0.875", "peak_rss_bytes": "1000000000", "gpu_memory_bytes": "2000000000",
        "accuracy": "0.5", "comparable": "true", "ledger_exact": "true", "bottleneck": "loader-bound",
    }  # fmt: skip
    assert {name: load[name] for name in expected} == expected
    for end in ("low", "high"):
        assert float(load[f"images_per_second_{end}"]) == pytest.approx(50)
    assert (train["phase"], train["images_per_second"], train["cpu_utilisation"]) == ("train", "25.0", "0.75")
    assert (train["passes"], train["images_per_second_low"]) == ("1", "")


def test_a_latency_is_of_the_model_alone() -> None:
    model = Phase((Pass(8, 1.0, 0.0, (), (0.25, 0.5)),))
    (line,) = lines(run(Row("dali", "ok", model=model, runtime=Runtime("onnxruntime", "fp32", "cuda"))))
    assert (line["latency_p50_ms"], line["latency_p99_ms"], line["provider"]) == ("250.0", "500.0", "cuda")


def test_what_was_not_measured_is_one_line_with_its_reason() -> None:
    broken = Row("roi", "failed", 'it\r\nbroke,\t"badly"\x00\x1b[31m, and\vthat\'s it')
    (line,) = lines(run(broken))
    assert line["reason"] == 'it broke, "badly" [31m, and that\'s it'
    assert (line["loader"], line["status"], line["phase"], line["passes"]) == ("roi", "failed", "", "")


def test_two_runs_stand_below_one_header() -> None:
    found = lines(run(OK), run(Row("gone", "skipped", "no library"), workers=8))
    told = [(line["loader"], line["workers"]) for line in found]
    assert told == [("dali", "2"), ("dali", "2"), ("gone", "8")]


@pytest.mark.parametrize("loader", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1+1", "\t=1+1", "\n@x"])
def test_text_is_no_formula(loader: str) -> None:
    (line,) = lines(run(Row(loader, "skipped", loader), source=loader))
    for name in ("loader", "reason", "source"):
        assert line[name] == f"'{loader.strip()}"


def test_a_number_below_0_stays_a_number() -> None:
    (line,) = lines(run(Row("dali", "ok", load=LOAD, accuracy=-0.5)))
    assert line["accuracy"] == "-0.5"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_is_empty(value: float | None) -> None:
    (line,) = lines(run(Row("dali", "ok", load=replace(LOAD, first_batch_seconds=value), accuracy=value)))
    assert (line["accuracy"], line["first_batch_seconds"]) == ("", "")


def test_doubts_are_told() -> None:
    lost = LedgerCount((replace(EXACT.epochs[0], missing=1),))
    other = Certificate(False, (Check("val.ids", False, "ids differ"),))
    line, _ = lines(run(replace(OK, ledger=lost, certificate=other)))
    assert (line["comparable"], line["ledger_exact"]) == ("false", "false")


def test_lines_end_in_a_line_feed_and_hold_as_many_cells_as_the_header() -> None:
    text = load_report("csv").render([run(OK, Row("a\nb", "failed", "c\rd"))])
    assert "\r" not in text
    assert text.endswith("\n")
    header, *rows = csv.reader(text.splitlines())
    assert [len(row) for row in rows] == [len(header)] * 3


def test_a_run_without_rows_is_a_header() -> None:
    header = load_report("csv").render([run()])
    assert header.startswith("created,source,loader,status,reason,")
    assert header.count("\n") == 1
    assert load_report("csv").render([]) == header


def test_a_run_that_tells_nothing_of_its_work_has_empty_cells() -> None:
    (line,) = lines(Results("", "", {}, {}, (Row("x", "skipped"),)))
    assert {name for name, cell in line.items() if cell} == {"loader", "status"}
