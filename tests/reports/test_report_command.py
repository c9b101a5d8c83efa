"""``throughput report`` tells files of results again in any format, and refuses what would lose something."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from throughput import registry
from throughput.errors import ThroughputError
from throughput.registry import load_report
from throughput.results import Pass, Phase, Results, Row
from throughput.results_file import read_results
from throughput.results_reading import load_results, load_runs

Run = Callable[..., subprocess.CompletedProcess[str]]

OK = Row("dali", "ok", load=Phase((Pass(1_234, 1.0, 0.0), Pass(1_234, 1.0, 0.0))), warnings=("look out",))
RESULTS = Results(
    "2026-01-02T03:04:05+00:00",
    "throughput bench",
    {"cpu_model": "EPYC", "versions": {"torch": "2.11"}},
    {"source": "photos", "workers": 2},
    (OK, Row("roi", "failed", "it broke")),
)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write runs as ``--json`` does."""

    def written(name: str, *runs: Results) -> Path:
        path = tmp_path / name
        path.write_text(load_report("json").render(runs or [RESULTS]))
        return path

    return written


def test_without_an_option_the_tables_are_printed(here: Run, write: Write) -> None:
    ran = here("report", write("a.json"), write("b.json"))
    assert ran.returncode == 0
    assert ran.stdout.count("│ dali ") == 2
    assert ran.stdout.count("1,234 ±0") == 2
    assert ran.stderr.count("throughput: dali: look out\n") == 2
    assert ran.stderr.count("throughput: roi failed: it broke\n") == 2


def test_each_format_is_a_file_of_all_runs(here: Run, write: Write, tmp_path: Path) -> None:
    names = ("csv", "markdown", "junit", "json")
    ran = here(
        "report",
        write("a.json"),
        write("b.json"),
        *(f"--{name}={tmp_path / name}" for name in names),
        f"--to=table={tmp_path / 'with=sign'}",
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    told = {name: (tmp_path / name).read_text() for name in (*names, "with=sign")}
    lines = list(csv.DictReader(io.StringIO(told["csv"])))
    assert [line["loader"] for line in lines] == ["dali", "roi"] * 2
    assert told["markdown"].count("1,234 images/s from the loader alone [1,234, 1,234]") == 2
    assert ElementTree.fromstring(told["junit"]).get("tests") == "4"
    assert [len(run["rows"]) for run in json.loads(told["json"])] == [2, 2]
    assert told["with=sign"].count("│ dali ") == 2
    assert told["with=sign"].endswith("\n")


def test_a_dash_is_stdout(here: Run, write: Write, tmp_path: Path) -> None:
    ran = here("report", write("a.json"), "--csv", "-", "--junit", tmp_path / "junit.xml")
    assert ran.returncode == 0
    assert ran.stdout.startswith("created,source,loader,")
    assert ran.stdout.count("\n") == 3
    assert (tmp_path / "junit.xml").is_file()


def test_what_was_told_as_json_is_read_again(here: Run, write: Write, tmp_path: Path) -> None:
    other = replace(RESULTS, created="later")
    ran = here("report", write("a.json"), write("b.json", other), "--json", tmp_path / "both.json")
    assert ran.returncode == 0
    runs = load_runs(tmp_path / "both.json")
    assert [run.created for run in runs] == [RESULTS.created, "later"]
    assert runs[1].to_json() == other.to_json()
    again = here("report", tmp_path / "both.json", "--json", "-")
    assert again.stdout == (tmp_path / "both.json").read_text()


def test_a_list_of_one_run_is_that_run(write: Write, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(f"[{write('a.json').read_text()}]")
    assert load_results(tmp_path / "list.json") == load_results(tmp_path / "a.json")
    (only,) = load_runs(tmp_path / "a.json")
    assert only == load_results(tmp_path / "a.json")


def test_two_runs_in_a_file_are_not_compared(here: Run, write: Write) -> None:
    both, one = write("both.json", RESULTS, RESULTS), write("one.json")
    ran = here("compare", both, one)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert f"{both} holds 2 runs, and one is wanted" in ran.stderr
    with pytest.raises(ThroughputError, match="holds 2 runs"):
        read_results(both)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rows": None}, "run 2 is not what `throughput bench --json` writes: it has no rows"),
        ({"schema": 9}, "run 2 holds results of schema 9"),
        ({"created": None}, "run 2 is not what `throughput bench --json` writes: created cannot be None"),
    ],
)
def test_a_run_that_does_not_fit_is_named(
    here: Run, write: Write, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = write("both.json", RESULTS, RESULTS)
    first, second = json.loads(path.read_text())
    path.write_text(json.dumps([first, second | change]))
    ran = here("report", path, "--csv", tmp_path / "out.csv")
    assert ran.returncode == 2
    assert f"{path}, {told}" in ran.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "it holds no run"),
        ("[[]]", "it has no schema"),
        ("[", "it is not JSON"),
        ("7", "it has no schema"),
    ],
)
def test_a_file_of_another_kind_is_one_line(here: Run, tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.json").write_text(content)
    ran = here("report", tmp_path / "a.json")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert told in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_what_runs_do_not_have_in_common_is_told_on_stderr(here: Run, write: Write) -> None:
    other = replace(
        RESULTS,
        environment={"cpu_model": "Xeon", "versions": {"torch": "2.12"}},
        work=RESULTS.work | {"workers": 4, "test": "test_b"},
    )
    a, b = write("a.json"), write("b.json", RESULTS, other)
    ran = here("report", a, b, "--csv", "-")
    assert ran.stderr.splitlines() == [
        f"throughput: other machine: cpu_model is EPYC in {a}, Xeon in {b}, run 2",
        f"throughput: other work: workers is 2 in {a}, 4 in {b}, run 2",
        f"throughput: torch is 2.11 in {a}, 2.12 in {b}, run 2",
    ]
    assert ran.returncode == 0
    assert ran.stdout.startswith("created,")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--csv=no/such/out.csv",), "--csv no/such/out.csv: there is no folder"),
        (("--markdown=.",), "--markdown .: this is a folder"),
        (("--to=csv=no/such/out.csv",), "--to csv no/such/out.csv: there is no folder"),
        (("--csv=out", "--junit=./out"), "--csv and --junit both write to out: name another file"),
        (("--csv=out", "--to=junit=out"), "--csv and --to junit both write to out"),
        (("--csv=out", "--junit=link"), "--csv and --junit both write to link"),
        (("--csv=-", "--to=junit=-"), "--csv and --to junit both write to stdout"),
        (("--json=a.json",), "--json a.json would overwrite what is read"),
        (("--csv=./to_a",), "--csv to_a would overwrite what is read"),
        (("--to=csv",), "--to must be NAME=PATH, such as csv=rates.csv, got 'csv'"),
        (("--to==out",), "--to must be NAME=PATH"),
        (("--to=csv=",), "--to must be NAME=PATH"),
        (("--to=cvs=out",), "no report is called 'cvs' (did you mean 'csv'?)"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(
    here: Run, write: Write, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    content = write("a.json").read_text()
    (tmp_path / "to_a").symlink_to("a.json")
    (tmp_path / "link").symlink_to("out")
    ran = here("report", "a.json", "missing.json", *options, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert told in ran.stderr
    assert "missing.json" not in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert (tmp_path / "a.json").read_text() == content
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_leaves_nothing(here: Run, write: Write, tmp_path: Path) -> None:
    ran = here("report", write("a.json"), "missing.json", "--csv", tmp_path / "out.csv", cwd=tmp_path)
    assert ran.returncode == 2
    assert "cannot read missing.json: No such file" in ran.stderr
    assert not (tmp_path / "out.csv").exists()


def test_no_file_at_all_is_wrong_input(here: Run) -> None:
    assert here("report").returncode == 2


OTHERS = """
from throughput.contracts import Report


class Shout(Report):
    about = "louder"

    def render(self, runs):
        return " ".join(row.loader.upper() for results in runs for row in results.rows)


class Needy(Report):
    def render(self, runs):
        import library_that_is_not_there
"""


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of another package, one of them in place of the page, which takes seconds to make."""
    (tmp_path / "other_reports.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(tmp_path)
    real = registry.entry_points

    def registered(*, group: str) -> EntryPoints:
        more = {"shout": "Shout", "needy": "Needy", "html": "Shout"} if group == registry.REPORTS else {}
        added = [EntryPoint(name, f"other_reports:{target}", group) for name, target in more.items()]
        return EntryPoints([*(one for one in real(group=group) if one.name not in more), *added])

    monkeypatch.setattr(registry, "entry_points", registered)


@pytest.mark.usefixtures("others")
def test_a_report_of_another_package_is_found_by_name(here: Run, write: Write, tmp_path: Path) -> None:
    ran = here("report", write("a.json"), f"--to=shout={tmp_path / 'loud'}", f"--html={tmp_path / 'page'}")
    assert (ran.returncode, ran.stderr) == (0, "")
    for name in ("loud", "page"):
        assert (tmp_path / name).read_text() == "DALI ROI\n"


@pytest.mark.usefixtures("others")
def test_a_library_that_is_missing_is_one_line_and_nothing_is_written(
    here: Run, write: Write, tmp_path: Path
) -> None:
    ran = here("report", write("a.json"), "--csv", tmp_path / "out.csv", "--to=needy=-")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "the report 'needy' cannot be made here: No module named 'library_that_is_not_there'" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_half_a_character_is_no_reason_to_fail(here: Run, write: Write, tmp_path: Path) -> None:
    path = write("a.json", replace(RESULTS, rows=(Row("x\udc80", "failed", "no file called \udc80"),)))
    outs = [f"--to={name}={tmp_path / name}" for name in ("csv", "markdown", "junit", "json", "table")]
    assert here("report", path, *outs).returncode == 0
    assert "no file called ?" in (tmp_path / "table").read_text()
    assert load_results(tmp_path / "json").rows[0].reason == "no file called \udc80"
