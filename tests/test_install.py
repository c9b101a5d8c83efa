"""One package is installed, whichever way, and the command runs from anywhere."""

from __future__ import annotations

import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from throughput import __version__

ROOT = Path(__file__).resolve().parent.parent
OLDEST_SETUPTOOLS = 77
FAMILIES = ("loaders", "models", "reports")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of a copy of the checkout."""
    if (
        importlib.util.find_spec("setuptools") is None
        or int(metadata.version("setuptools").partition(".")[0]) < OLDEST_SETUPTOOLS
    ):
        pytest.skip(f"needs setuptools {OLDEST_SETUPTOOLS} or newer, so that nothing is downloaded")
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, because setuptools writes build folders beside the sources.
    copy = shutil.copytree(
        ROOT,
        folder / "checkout",
        ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "shared"),
    )
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, folder], cwd=copy, check=True, capture_output=True, timeout=120
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


class TestWheel:
    def test_it_holds_one_package(self, wheel, unpacked):
        assert wheel.name.startswith(f"throughput-{__version__}-py3-none-")
        tops = {path.name for path in unpacked.iterdir()}
        assert tops == {"throughput", f"throughput-{__version__}.dist-info"}

    def test_every_module_is_in_it(self, unpacked):
        for folder, inside in [
            ("throughput", ""),
            *((name, name) for name in ("loaders", "models", "reports")),
        ]:
            for path in (ROOT / folder).rglob("*.py"):
                packed = unpacked / "throughput" / inside / path.relative_to(ROOT / folder)
                assert packed.read_bytes() == path.read_bytes()
        assert (unpacked / "throughput" / "py.typed").is_file()

    def test_the_command_and_the_plug_ins_are_declared(self, unpacked):
        declared = configparser.ConfigParser(delimiters="=")
        declared.read(unpacked / f"throughput-{__version__}.dist-info" / "entry_points.txt")
        assert dict(declared["console_scripts"]) == {"throughput": "throughput.cli:main"}
        assert {"torchvision", "webdataset", "dali"} <= set(declared["throughput.loaders"])
        assert {"table", "json"} <= set(declared["throughput.reports"])
        for group in declared.sections():
            for target in declared[group].values():
                module = target.partition(":")[0].replace(".", "/")
                inside = unpacked / module
                assert inside.with_suffix(".py").is_file() or (inside / "__init__.py").is_file(), target

    def test_a_project_with_folders_of_the_same_names_is_not_disturbed(self, unpacked, tmp_path):
        for name in FAMILIES:
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(f"mine = {name!r}\n")
        code = (
            "import loaders, models, reports\n"
            "import throughput, throughput.loaders.dali, throughput.models.zoo, throughput.reports.table\n"
            "print(loaders.mine, models.mine, reports.mine)\n"
            "print(throughput.__file__)\n"
            "print(throughput.loaders.__file__)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(unpacked)},
            capture_output=True,
            text=True,
            check=True,
        )
        mine, core, family = ran.stdout.splitlines()
        assert mine == "loaders models reports"
        assert Path(core) == unpacked / "throughput" / "__init__.py"
        assert Path(family) == unpacked / "throughput" / "loaders" / "__init__.py"


@pytest.fixture(params=["root", "elsewhere"])
def place(request, tmp_path) -> Path:
    return ROOT if request.param == "root" else tmp_path


def test_the_command_runs_from_anywhere(throughput, place):
    ran = throughput("--version", cwd=place)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split()[-1] == __version__


def test_every_plug_in_loads_from_anywhere(throughput, tmp_path):
    ran = throughput("list", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for name in ("torchvision", "webdataset", "dali", "table", "json"):
        assert f" {name} " in f" {ran.stdout} "
    assert "broken" not in ran.stdout


def test_python_m_runs_from_anywhere(place):
    ran = subprocess.run(
        [sys.executable, "-m", "throughput", "--version"],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split()[-1] == __version__


@pytest.mark.parametrize("command", [["-m", "pytest"], ["-c", "import sys, pytest; sys.exit(pytest.main())"]])
def test_tests_are_collected_from_anywhere(place, command):
    """``python -m pytest`` puts the current folder on the path, ``pytest`` does not."""
    some = [str(ROOT / "tests" / name) for name in ("test_layout.py", "cli/test_list.py")]
    plain = ["-P"] if command[0] == "-c" else []
    ran = subprocess.run(
        [sys.executable, *plain, *command, "--collect-only", "-q", "-p", "no:cacheprovider", *some],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "test_the_core_imports_no_family" in ran.stdout
    assert "test_json_holds_the_same" in ran.stdout
