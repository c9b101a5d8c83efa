"""Dependencies point one way: families lean on the core, never on each other, and libraries stay in place."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ("loaders", "models", "reports")
MOST_LINES = 400

WRAPPED_BY = {
    "nvidia": {"loaders/dali.py"},
    "webdataset": {"loaders/tarshards.py"},
    "torchvision": {"models/zoo.py", "throughput/certificate/reference.py"},
    "onnxruntime": {"models/sessions.py", "models/providers.py", "models/quantising.py"},
    "onnx": {"models/onnx_files.py"},
    "timm": {"models/timm_zoo.py"},
    "vl_convert": {"reports/page.py"},
}
"""Heavy library -> the files that may import it, inside functions."""

CODE = [path for folder in ("throughput", *FAMILIES) for path in sorted((ROOT / folder).rglob("*.py"))]
CORE = [path for path in CODE if path.is_relative_to(ROOT / "throughput")]
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Dotted names that a file imports, their lines, and whether that is at run time outside functions."""
    tree = ast.parse(path.read_text())
    package = list(path.relative_to(ROOT).parent.parts)
    if package[0] in FAMILIES:
        package.insert(0, "throughput")
    yield from _imported(tree, package, at_import=True)


def _imported(node: ast.AST, package: list[str], *, at_import: bool) -> Iterator[tuple[str, int, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno, at_import) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = package[: len(package) + 1 - child.level] if child.level else []
            module = ".".join([*base, *(child.module or "").split(".")]).rstrip(".")
            yield from ((f"{module}.{alias.name}", child.lineno, at_import) for alias in child.names)
        else:
            for_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imported(child, package, at_import=at_import and not for_types and not later)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_files_were_found():
    assert {"throughput/api.py", "loaders/dali.py", "models/zoo.py", "reports/table.py"} <= set(
        map(name_of, CODE)
    )


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_imports_no_family(path):
    for name, line, _ in imported(path):
        for family in FAMILIES:
            assert not within(name, f"throughput.{family}"), f"{name_of(path)}:{line} imports {name}"


@pytest.mark.parametrize("family", FAMILIES)
def test_families_do_not_know_each_other(family):
    for path in sorted((ROOT / family).rglob("*.py")):
        for name, line, _ in imported(path):
            for other in set(FAMILIES) - {family}:
                assert not within(name, f"throughput.{other}"), f"{name_of(path)}:{line} imports {name}"


@pytest.mark.parametrize("path", [*CODE, *TESTS], ids=name_of)
def test_families_are_imported_by_their_whole_names(path):
    for name, line, _ in imported(path):
        assert name.partition(".")[0] not in FAMILIES, f"{name_of(path)}:{line} imports {name}"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_heavy_libraries_stay_with_the_file_that_wraps_them(path):
    for name, line, at_import in imported(path):
        library = name.partition(".")[0]
        if library in WRAPPED_BY:
            where = f"{name_of(path)}:{line} imports {name}"
            assert name_of(path) in WRAPPED_BY[library], where
            assert not at_import, f"{where} when it is imported itself"


@pytest.mark.parametrize("module", ["throughput.contracts", "throughput.registry", "throughput.cli"])
def test_no_torch_is_needed(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", [*CODE, *TESTS], ids=name_of)
def test_files_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) < MOST_LINES


def test_test_files_differ_in_their_names():
    names = [path.name for path in TESTS if path.name != "conftest.py"]
    assert len(names) == len(set(names))
