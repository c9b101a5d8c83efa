"""Names are found, loaded when chosen, and wrong ones are answered with a way out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path

import pytest

from throughput import registry
from throughput.contracts import LoaderFactory, Requirement
from throughput.errors import UnknownNameError

PLUG_INS = """
from throughput.contracts import LoaderFactory, ModelFamily, Report, Requirement


class Pebbles(LoaderFactory):
    name = "pebbles"
    about = "small stones"

    def open(self, work, options):
        raise NotImplementedError


pebbles = Pebbles()


class Needy(Pebbles):
    requires = (Requirement("not_a_module_at_all", "pip install not-a-module"),)


class Sedans(ModelFamily):
    def names(self):
        return ("sedan", "coupe")

    def build(self, name, num_classes, channels):
        raise NotImplementedError


class Trucks(Sedans):
    requires = Needy.requires


class Wrecks(Sedans):
    def names(self):
        raise RuntimeError("no\\nwheels")


class Plain(Report):
    about = "just text"

    def render(self, results):
        return ""


def several():
    return 1


seven = 7


def wagon(num_classes, channels):
    return ("wagon", num_classes, channels)


class Bicycles(Sedans):
    def names(self):
        return ("bicycle",)

    def build(self, name, num_classes, channels):
        return (name, num_classes, channels)

    def image_size(self, name):
        return 48 if name == "bicycle" else 0


number = 3
"""

Register = Callable[..., None]


@pytest.fixture
def plug_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of plug-ins in the current directory, which is not on the path."""
    (tmp_path / "some_plug_ins.py").write_text(PLUG_INS)
    (tmp_path / "wrong_plug_in.py").write_text("import library_that_is_not_there")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "some_plug_ins", raising=False)
    return "some_plug_ins"


@pytest.fixture
def register(plug_ins: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Register:
    """Replace what is registered in a group by ``name=attribute`` of the plug-ins."""
    monkeypatch.syspath_prepend(tmp_path)

    def replace(group: str, **entries: str) -> None:
        def registered(*, group: str) -> EntryPoints:
            return EntryPoints(
                EntryPoint(name, value if ":" in value else f"{plug_ins}:{value}", group)
                for name, value in (entries.items() if group == chosen else ())
            )

        chosen = group
        monkeypatch.setattr(registry, "entry_points", registered)

    return replace


def test_own_loaders_are_registered() -> None:
    assert {"torchvision", "webdataset", "dali", "replay"} <= set(registry.loader_names())


def test_naming_imports_no_plug_in(register: Register) -> None:
    register(registry.LOADERS, pebbles="Pebbles")
    assert registry.loader_names() == ("pebbles",)
    assert "some_plug_ins" not in sys.modules


@pytest.mark.parametrize("attribute", ["Pebbles", "pebbles"])
def test_a_class_and_an_instance_load(register: Register, attribute: str) -> None:
    register(registry.LOADERS, stones=attribute)
    assert isinstance(registry.load_loader("stones"), LoaderFactory)


@pytest.mark.parametrize("attribute", ["Pebbles", "pebbles"])
def test_a_loader_is_imported_from_the_current_directory(plug_ins: str, attribute: str) -> None:
    assert registry.load_loader(f"{plug_ins}:{attribute}").name == "pebbles"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere.at.all:Loader", "No module named 'nowhere'"),
        ("some_plug_ins:Stones", "Stones"),
        ("some_plug_ins:Sedans", "not a LoaderFactory"),
        ("some_plug_ins:seven", "not a LoaderFactory"),
        ("wrong_plug_in:Loader", "library_that_is_not_there"),
        ("some_plug_ins:", "some_plug_ins"),
        (":Loader", "Empty module name"),
    ],
)
@pytest.mark.usefixtures("plug_ins")
def test_what_cannot_be_imported_is_an_unknown_name(name: str, told: str) -> None:
    with pytest.raises(UnknownNameError, match=told) as caught:
        registry.load_loader(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_an_unknown_loader_offers_the_nearest_and_names_all(register: Register) -> None:
    register(registry.LOADERS, pebbles="Pebbles", sand="Pebbles")
    with pytest.raises(UnknownNameError, match=r"'peebles' \(did you mean 'pebbles'\?\).*pebbles, sand"):
        registry.load_loader("peebles")


def test_a_registered_module_that_does_not_import_is_named(register: Register) -> None:
    register(registry.LOADERS, gone="module_that_is_gone:Loader")
    with pytest.raises(UnknownNameError, match="module_that_is_gone"):
        registry.load_loader("gone")


def test_this_package_keeps_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    real = entry_points(group=registry.LOADERS)
    stranger = EntryPoint("replay", "stranger:Loader", registry.LOADERS)
    addition = EntryPoint("another", "stranger:Loader", registry.LOADERS)
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda *, group: EntryPoints([addition, stranger, *real]),  # noqa: ARG005
    )
    assert registry.loader_names()[-1] == "another"
    assert registry.load_loader("replay").name == "replay"


def test_a_model_is_found_in_the_family_that_has_it(register: Register) -> None:
    register(registry.MODELS, wrecks="Wrecks", trucks="Trucks", sedans="Sedans")
    assert type(registry.load_model_family_for("coupe")).__name__ == "Sedans"


def test_an_unknown_model_names_the_families_that_were_passed_over(register: Register) -> None:
    register(registry.MODELS, wrecks="Wrecks", trucks="Trucks", sedans="Sedans")
    with pytest.raises(UnknownNameError) as caught:
        registry.load_model_family_for("sedann")
    message = str(caught.value)
    assert "did you mean 'sedan'" in message
    assert "sedan, coupe" in message
    assert "pip install not-a-module" in message
    assert "no wheels" in message


def test_many_models_are_not_all_in_the_message(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    register(registry.MODELS, sedans="Sedans")
    monkeypatch.setattr(registry, "LISTED_NAMES", 1)
    with pytest.raises(UnknownNameError, match="throughput list --models"):
        registry.load_model_family_for("bus")


@pytest.mark.parametrize(
    ("attribute", "built", "size"), [("wagon", "wagon", 224), ("Bicycles", "bicycle", 48)]
)
def test_a_model_is_built_by_what_is_pointed_at(plug_ins: str, attribute: str, built: str, size: int) -> None:
    name = f"{plug_ins}:{attribute}"
    family = registry.load_model_family_for(name)
    assert family.names() == (name,)
    assert family.build(name, 7, 3) == (built, 7, 3)
    assert family.image_size(name) == size


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("number", "is not a callable"),
        ("nothing", "cannot load the model"),
        ("Sedans", r"has 2 models \(sedan, coupe\)"),
        ("Trucks", "pip install not-a-module"),
    ],
)
def test_a_model_that_cannot_be_pointed_at_says_why(plug_ins: str, attribute: str, told: str) -> None:
    with pytest.raises(UnknownNameError, match=told):
        registry.load_model_family_for(f"{plug_ins}:{attribute}")


def test_a_report_loads(register: Register) -> None:
    register(registry.REPORTS, plain="Plain")
    assert registry.report_names() == ("plain",)
    assert registry.load_report("plain").about == "just text"


def test_commands_and_diagnoses_are_named(register: Register) -> None:
    register(registry.COMMANDS, export="several")
    assert registry.extra_commands()["export"].load()() == 1
    register(registry.DIAGNOSES, pebbles="several")
    assert list(registry.diagnoses()) == ["pebbles"]


class _Needs:
    def __init__(self, *modules: str) -> None:
        self.requires = tuple(Requirement(module, f"pip install {module}") for module in modules)


def test_missing_requirements_are_found_without_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "loud_namespace" / "loud_package"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("raise AssertionError('imported')")
    (inner / "part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    there = ("loud_namespace.loud_package", "loud_namespace.loud_package.part", "json", "json.decoder")
    absent = ("loud_namespace.quiet", "loud_namespace.loud_package.quiet", "no_such_top.part", "json.no.such")
    missing = registry.missing_requirements(_Needs(*there, *absent))
    assert tuple(requirement.module for requirement in missing) == absent


def test_a_module_that_is_blocked_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blocked_module", None)
    assert registry.missing_requirements(_Needs("blocked_module", "blocked_module.part"))[1:]
