"""What the pytest plugins add: options, fixtures and marks."""

from __future__ import annotations

import argparse
import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from throughput.reference.commands import OPTION_HEADERS, option_cells
from throughput.reference.markdown import Section, code, prose, table
from throughput.reference.origin import is_own


@dataclass
class OptionNotes:
    """What ``pytest_addoption`` is given here in place of pytest's parser: it notes what is added."""

    options: list[tuple[tuple[str, ...], dict[str, Any]]] = field(default_factory=list)

    def getgroup(self, *_: object, **__: object) -> OptionNotes:
        """All groups are one."""
        return self

    def addoption(self, *names: str, **attributes: Any) -> None:
        """Note an option: its names, and what argparse takes. One that pytest's help does not show is not."""
        if attributes.get("help") != argparse.SUPPRESS:
            self.options.append((names, attributes))


def pytest_options() -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Names and attributes of the options that the plugins of this package add."""
    notes = OptionNotes()
    for plugin in _plugins():
        getattr(plugin, "pytest_addoption", lambda _: None)(notes)
    return notes.options


def pytest_sections() -> Iterator[Section]:
    """Of the plugins of this package; nothing where pytest is not told of any."""
    plugins = _plugins()
    if not plugins:
        return
    options = [_option(names, attributes) for names, attributes in pytest_options()]
    fixtures = [(code(name), prose(words)) for one in plugins for name, words in _fixtures(one)]
    marks = [(code(f"@pytest.mark.{call}"), prose(words)) for one in plugins for call, words in _marks(one)]
    yield Section(2, "pytest", "pytest finds these by itself where `throughput` is installed.")
    yield Section(3, "Options of pytest", table(OPTION_HEADERS, options), short="options")
    yield Section(3, "Fixtures", table(("fixture", "what it does"), fixtures), short="fixtures")
    yield Section(3, "Marks", table(("mark", "what it does"), marks), short="marks")


def _plugins() -> list[ModuleType]:
    own = [entry for entry in entry_points(group="pytest11") if is_own(entry)]
    return [import_module(entry.module) for entry in sorted(own, key=lambda entry: entry.name)]


def _option(names: tuple[str, ...], attributes: dict[str, Any]) -> tuple[str, str, str]:
    takes = "" if "action" in attributes else attributes.get("metavar", names[-1].strip("-").upper())
    words = attributes.get("help", "").replace("%%", "%")  # argparse fills in what a single one begins
    return option_cells(names, takes, words, attributes.get("default"))


def _fixtures(plugin: ModuleType) -> Iterator[tuple[str, str]]:
    """Name and first paragraph of the functions that ``pytest.fixture`` decorates in the file."""
    # pytest has no public way to ask a fixture what it is.
    for one in ast.parse(inspect.getsource(plugin)).body:
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"):
            decorators = [ast.unparse(decorator).partition("(")[0] for decorator in one.decorator_list]
            if "pytest.fixture" in decorators:
                yield one.name, (ast.get_docstring(one) or "").partition("\n\n")[0]


def _marks(plugin: ModuleType) -> Iterator[tuple[str, str]]:
    """Call and text of the marks that the file tells pytest of: ``CALL: TEXT``, or a constant's name."""
    for one in ast.walk(ast.parse(inspect.getsource(plugin))):
        if not isinstance(one, ast.Call) or not ast.unparse(one.func).endswith(".addinivalue_line"):
            continue
        group, line = one.args
        if ast.literal_eval(group) == "markers":
            told = getattr(plugin, line.id) if isinstance(line, ast.Name) else ast.literal_eval(line)
            call, _, words = told.partition(": ")
            yield call, words[:1].upper() + words[1:]
