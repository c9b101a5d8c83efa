"""``throughput compare`` prints ratios with intervals, and refuses what cannot be compared in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from throughput import cli
from throughput.registry import load_report
from throughput.results import Pass, Phase, Results, Row

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write what ``bench --json`` writes of rates; keywords change the work."""

    def written(name: str, rates: tuple[float, ...], cpu_model: str = "EPYC", **work: Any) -> Path:
        phase = Phase(tuple(Pass(int(rate), 1.0, 0.0) for rate in rates))
        rows = (Row("dali", "ok", load=phase), Row("roi", "failed", "it died"))
        environment = {"cpu_model": cpu_model, "versions": {"torch": name}}
        path = tmp_path / name
        path.write_text(
            load_report("json").render([Results("now", "bench", environment, {"workers": 2} | work, rows)])
        )
        return path

    return written


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(
        cli.command, ["compare", *map(str, arguments)], env={"COLUMNS": "200"}, catch_exceptions=True
    )


def test_the_table_has_ratios_with_intervals(write: Write) -> None:
    told = compare(write("a", (1000, 1010, 990)), write("b", (1500, 1510, 1490)))
    assert told.exit_code == 0
    (row,) = [line.split() for line in told.stdout.splitlines() if line.strip().startswith("dali")]
    assert row[:5] == ["dali", "load", "1,000", "1,500", "1.500"]
    assert float(row[5].strip("[,")) < 1.5 < float(row[6].strip("]"))
    assert row[7:] == ["faster"]
    assert "torch is a in A, b in B" in told.stdout
    assert "not compared: roi: failed (it died) in A" in told.stdout


def test_one_pass_has_no_interval_and_that_is_said(write: Write) -> None:
    told = compare(write("a", (1000,)), write("b", (1500, 1400)))
    assert told.exit_code == 0
    assert "no interval: one pass shows no spread" in told.stdout


@pytest.mark.parametrize(
    ("changed", "kind", "sentence"),
    [
        ({"cpu_model": "Xeon"}, "machine", "cpu_model is EPYC in A, Xeon in B"),
        ({"workers": 4}, "work", "workers is 2 in A, 4 in B"),
    ],
)
def test_what_differs_is_refused_and_a_note_where_it_is_allowed(
    write: Write, changed: dict[str, Any], kind: str, sentence: str
) -> None:
    files = write("a", (1000, 1010)), write("b", (1500, 1510), **changed)
    refused = compare(*files)
    assert refused.exception.exit_code == 2
    assert sentence in str(refused.exception)
    assert refused.stdout == ""
    told = compare(*files, "--allow", kind)
    assert told.exit_code == 0
    assert told.stdout.index(f"other {kind}: {sentence}") < told.stdout.index("dali")


def test_nothing_in_common_is_no_success(write: Write, tmp_path: Path) -> None:
    path = write("a", (1000, 1010))
    other = json.loads(path.read_text())
    other["rows"][0]["loader"] = "torchvision"
    (tmp_path / "b").write_text(json.dumps(other))
    told = compare(path, tmp_path / "b")
    assert told.exception.exit_code == 3
    assert "not compared: dali: only in A" in told.stdout


PASSES = {"passes": [{"images": 1, "seconds": 1.0}]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("\udc80", "it is not JSON"),
        ("[1]", "it has no schema"),
        ({"schema": "one"}, "it has no schema"),
        ({"schema": 2}, "schema 2, and this version of throughput reads schema 1"),
        ({"schema": 1}, "it has no environment"),
        ({"rows": {}}, "it has no rows"),
        ({"rows": [1]}, "a row has no loader"),
        ({"rows": [{"loader": "x"}]}, "no status"),
        ({"rows": [{"loader": "x", "status": "ok", "load": {}}]}, "the passes of x, load"),
        ({"rows": [{"loader": "x", "status": "ok", "load": {"passes": []}}]}, "the passes of x, load"),
        (
            {"rows": [{"loader": "x", "status": "ok", "load": {"passes": [{"images": 1, "seconds": 0}]}}]},
            "the passes of x, load",
        ),
        (
            {"rows": [{"loader": "x", "status": "ok", "load": PASSES, "certificate": "yes"}]},
            "certificate of x",
        ),
    ],
)
def test_a_file_of_another_kind_is_one_line(write: Write, tmp_path: Path, content: Any, reason: str) -> None:
    path = tmp_path / "other.json"
    if isinstance(content, dict):
        content = json.dumps(
            ({"schema": 1, "environment": {}, "work": {}} if "rows" in content else {}) | content
        )
    path.write_bytes(content.encode(errors="surrogateescape"))
    told = compare(write("a", (1000, 1010)), path)
    assert told.exception.exit_code == 2
    assert reason in str(told.exception)
    assert str(path) in str(told.exception)


def test_a_file_that_is_not_there(write: Write, tmp_path: Path) -> None:
    told = compare(write("a", (1000, 1010)), tmp_path / "nowhere.json")
    assert told.exception.exit_code == 2
    assert "nowhere.json: No such file" in str(told.exception)
