"""The list tells what there is, what is missing and how to get it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from click.testing import CliRunner

from throughput import registry
from throughput.cli.list import command
from throughput.contracts import LoaderFactory, ModelFamily, Report, Requirement
from throughput.errors import UnknownNameError


class Pebbles(LoaderFactory):
    name = "pebbles"
    about = "small [stones]"

    def open(self, work: Any, options: Any) -> Any:
        raise NotImplementedError


class Boulders(Pebbles):
    about = "large stones"
    requires = (Requirement("not_a_module_at_all", "pip install not-a-module[all]"),)


class Sedans(ModelFamily):
    def names(self) -> tuple[str, ...]:
        return ("sedan", "coupe")

    def build(self, name: str, num_classes: int, channels: int) -> Any:
        raise NotImplementedError


class Trucks(Sedans):
    requires = Boulders.requires

    def names(self) -> tuple[str, ...]:
        raise AssertionError("asked for models whose library is missing")


class Plain(Report):
    about = "just text"

    def render(self, results: Any) -> str:
        raise NotImplementedError


def chosen_from(plug_ins: dict[str, Any]) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        if plug_ins[name] is None:
            raise UnknownNameError(f"cannot load {name!r}: no such module")
        return plug_ins[name]()

    return load


@pytest.fixture(autouse=True)
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    loaders = {"pebbles": Pebbles, "boulders": Boulders, "rubble": None}
    families = {"sedans": Sedans, "trucks": Trucks, "wrecks": None}
    monkeypatch.setattr(registry, "loader_names", lambda: tuple(loaders))
    monkeypatch.setattr(registry, "load_loader", chosen_from(loaders))
    monkeypatch.setattr(registry, "model_families", lambda: tuple(families))
    monkeypatch.setattr(registry, "load_model_family", chosen_from(families))
    monkeypatch.setattr(registry, "report_names", lambda: ("plain",))
    monkeypatch.setattr(registry, "load_report", chosen_from({"plain": Plain}))
    entry = EntryPoint("polish", "stones.polish:command", registry.COMMANDS)
    monkeypatch.setattr(registry, "extra_commands", lambda: {"polish": entry})


def told(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False, env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert result.stderr == ""
    return result.stdout


def test_the_tables_tell_what_there_is() -> None:
    output = told()
    for text in ("small [stones]", "large stones", "just text", "polish", "stones.polish:command"):
        assert text in output
    assert "boulders (missing): pip install not-a-module[all]" in output.splitlines()
    assert "rubble (broken): cannot load 'rubble': no such module" in output.splitlines()
    assert "sedan," not in output


def test_models_are_named_when_asked_for() -> None:
    assert "sedan, coupe" in told("--models")


def test_json_holds_the_same() -> None:
    listing = json.loads(told("--json"))
    assert {entry["name"]: entry["status"] for entry in listing["loaders"]} == {
        "pebbles": "ok",
        "boulders": "missing",
        "rubble": "broken",
    }
    assert listing["loaders"][1]["needs"] == ["not_a_module_at_all"]
    assert listing["loaders"][1]["hint"] == "pip install not-a-module[all]"
    assert listing["models"][0]["models"] == ["sedan", "coupe"]
    assert [entry["status"] for entry in listing["models"]] == ["ok", "missing", "broken"]
    assert listing["reports"][0]["about"] == "just text"
    assert listing["commands"][0]["name"] == "polish"


def test_a_family_whose_names_fail_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrecks(Sedans):
        def names(self) -> tuple[str, ...]:
            raise RuntimeError("operator does not exist")

    monkeypatch.setattr(registry, "load_model_family", lambda _: Wrecks())
    (entry, *_) = json.loads(told("--json"))["models"]
    assert entry["status"] == "broken"
    assert "operator does not exist" in entry["hint"]


def test_nothing_of_the_loaders_is_imported() -> None:
    before = set(sys.modules)
    told()
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("torch", "torchvision")}
