"""What the page of reference tells is what docstrings say: of options, of keys, and of the environment."""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from throughput import registry, results
from throughput.contracts import Augmentation
from throughput.reference.docstrings import told
from throughput.reference.json_keys import json_objects
from throughput.reference.plug_ins import loader_options
from throughput.reference.surroundings import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
OWN_LOADERS = sorted(
    entry.name
    for entry in entry_points(group=registry.LOADERS)
    if entry.dist is not None and entry.dist.name == "throughput"
)


@dataclass
class Stone:
    """A stone. colour: not a field's text, as no sentence ends before it... but this one is. weight: in kg,
    wet; note: the scales lie. width, height: its
    sides (of each).

    age (in years) and origin: a guess: who knows. It was: old.
    """

    colour: str
    weight: float
    width: float
    height: float
    age: int
    origin: str
    hard: bool = True
    """Whether it
    scratches glass."""
    bare: bool = False

    @property
    def area(self) -> float:
        """Width times height"""
        return self.width * self.height


@dataclass
class Gem(Stone):
    """A dear one.

    price: in francs. weight: in carats.
    """

    price: int = 0


@dataclass
class Untold:
    size: int = 0


def test_docstrings_tell_of_fields():
    found = told(Stone)
    assert found.about == "A stone."
    assert found.fields == {
        "colour": "Not a field's text, as no sentence ends before it... but this one is.",
        "weight": "In kg, wet; note: the scales lie.",
        "width": "Its sides (of each).",
        "height": "Its sides (of each).",
        "age": "In years: a guess: who knows. It was: old.",
        "origin": "A guess: who knows. It was: old.",
        "hard": "Whether it scratches glass.",
        "area": "Width times height.",
    }


def test_a_class_tells_more_than_what_it_inherits():
    found = told(Gem)
    assert found.about == "A dear one."
    assert (found.fields["price"], found.fields["weight"]) == ("In francs.", "In carats.")
    assert found.fields["hard"] == "Whether it scratches glass."


def test_what_dataclasses_say_of_themselves_tells_nothing():
    assert (told(Untold).about, told(Untold).fields) == ("", {})


def untold(kind: type) -> list[str]:
    return [field.name for field in fields(kind) if not told(kind).fields.get(field.name)]


def test_an_option_that_is_not_told_would_be_found():
    assert untold(Untold) == ["size"]
    assert untold(Stone) == ["bare"]


@pytest.mark.parametrize("name", OWN_LOADERS)
def test_every_option_of_every_loader_is_told(name):
    loader = registry.load_loader(name)
    assert untold(loader.Options) == []
    for field in fields(loader.Options):
        assert f"| `{name}.{field.name}` |" in loader_options(loader)


def test_every_augmentation_is_told():
    assert untold(Augmentation) == []


def test_every_field_of_the_results_is_a_key_that_is_told():
    objects = json_objects()
    for kind in (
        results.Results, results.Row, results.Preparation, results.Rate, results.Pass, results.EpochCount,
        results.Certificate, results.Check, results.Verdict, results.Suggestion, results.Projection,
        results.CacheEvidence, results.Comparison, results.GateDecision, results.TrainingRun,
        results.EpochRecord, results.Runtime, results.Parity, results.Timeline, results.Window, results.Usage,
    ):  # fmt: skip
        assert {field.name for field in fields(kind)} <= set(objects[kind].keys)


def test_keys_that_are_not_fields_are_told_by_what_they_are_of():
    objects = json_objects()
    row, ledger = objects[results.Row].keys, objects[results.LedgerCount].keys
    assert row["provider"].words == told(results.Runtime).fields["provider"]
    assert row["latency_ms"].words == told(results.Phase).fields["latency_ms"]
    assert ledger["padded"].words == told(results.EpochCount).fields["padded"]
    assert {"mae", "top5", "confusion", "confusion_cells"} <= set(objects[results.Evaluation].keys)


def variables_read(tree: ast.AST) -> set[str]:
    """Names that ``os.environ`` or ``os.getenv`` is asked for, written as they are."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            if call in ("os.environ.get", "os.environ.setdefault", "os.getenv", "environ.get", "getenv"):
                found |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("os.environ", "environ"):
            found |= {node.slice.value} if isinstance(node.slice, ast.Constant) else set()
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[-1]) in ("os.environ", "environ"):
            found |= {node.left.value} if isinstance(node.left, ast.Constant) else set()
    return found


def test_environment_variables_are_those_of_the_code():
    folders = ("throughput", "loaders", "models", "reports")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert set().union(*(variables_read(ast.parse(path.read_text())) for path in files)) == set(VARIABLES)


def test_a_variable_that_is_read_would_be_found():
    text = 'os.environ.get("A"); os.environ["B"]; os.getenv("C", ""); "D" in os.environ; print("E")'
    assert variables_read(ast.parse(text)) == {"A", "B", "C", "D"}
