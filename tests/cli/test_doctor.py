"""The doctor tells findings, and exits with 1 for a problem only if asked to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from throughput import registry
from throughput.cli.doctor import command
from throughput.contracts import Requirement
from throughput.errors import UnknownNameError
from throughput.measure import diagnosis
from throughput.measure.environment import Finding

WELL = Finding("abacus", "ten [beads]")
ILL = Finding("inkwell", "dry", "nothing can be written", "pip install ink[blue]")


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the core's checks find what is given, and the plug-ins nothing."""

    def put(*findings: Finding) -> None:
        monkeypatch.setattr(diagnosis, "CHECKS", (lambda: findings,))

    for names in ("loader_names", "model_families"):
        monkeypatch.setattr(registry, names, tuple)
    monkeypatch.setattr(registry, "diagnoses", dict)
    return put


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, env={"COLUMNS": "120"})


def test_all_is_well(find: Callable[..., None]) -> None:
    find(WELL)
    result = run("--strict")
    assert result.exit_code == 0
    assert "ten [beads]" in result.stdout
    assert "No problems found." in result.stdout


def test_a_problem_is_told_with_its_cure(find: Callable[..., None]) -> None:
    find(WELL, ILL)
    result = run()
    assert result.exit_code == 0
    assert "inkwell: nothing can be written\n    pip install ink[blue]\n" in result.stdout
    assert "No problems" not in result.stdout


def test_a_problem_fails_when_strict(find: Callable[..., None]) -> None:
    find(WELL, ILL)
    assert run("--strict").exit_code == 1
    assert run("--strict", "--json").exit_code == 1


def test_json(find: Callable[..., None]) -> None:
    find(ILL)
    assert json.loads(run("--json").stdout) == [
        {
            "name": "inkwell",
            "value": "dry",
            "problem": "nothing can be written",
            "cure": "pip install ink[blue]",
        }
    ]


def test_plug_ins_are_asked(find: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> None:
        raise RuntimeError("quill\nbroken")

    answers: dict[str, Any] = {
        "ink": SimpleNamespace(load=lambda: lambda: iter([ILL])),
        "quill": SimpleNamespace(load=lambda: crash),
        "paper": EntryPoint("paper", "no_such_module_of_paper:diagnose", registry.DIAGNOSES),
    }
    find()
    monkeypatch.setattr(registry, "diagnoses", lambda: answers)
    told = json.loads(run("--json").stdout)
    assert [finding["name"] for finding in told] == ["inkwell", "quill", "paper"]
    assert told[1]["problem"] == "RuntimeError: quill broken"
    assert "no_such_module_of_paper" in told[2]["problem"]


def test_what_plug_ins_lack(find: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if name == "gone":
            raise UnknownNameError("cannot load the loader 'gone'")
        requires = (Requirement("not_a_module_at_all", "pip install it"),) if name == "needy" else ()
        return SimpleNamespace(requires=requires)

    find()
    monkeypatch.setattr(registry, "loader_names", lambda: ("fine", "needy", "gone"))
    monkeypatch.setattr(registry, "load_loader", load)
    told = json.loads(run("--json").stdout)
    assert [finding["value"] for finding in told] == ["ok", "skipped", "does not load"]
    assert told[1]["cure"] == "pip install it"


def test_stdout_holds_the_findings_only(
    find: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def talk() -> list[Finding]:
        os.write(1, b"a library talks")
        return [WELL]

    find()
    monkeypatch.setattr(diagnosis, "CHECKS", (talk,))
    command.main(["--json"], standalone_mode=False)
    captured = capfd.readouterr()
    assert json.loads(captured.out)
    assert captured.err == "a library talks"
