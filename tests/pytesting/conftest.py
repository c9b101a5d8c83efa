"""A project of somebody else's, whose tests are run by a pytest of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

SECONDS = 240
"""A session that takes longer hangs."""

TINY = (
    "--throughput-seconds=0.05", "--throughput-repeats=2", "--throughput-batch=4", "--throughput-workers=1",
)  # fmt: skip


@dataclass(frozen=True)
class Session:
    """What a session of pytest left. outcomes: of each test, by its name."""

    code: int
    said: str
    folder: Path
    outcomes: dict[str, str]

    def properties(self, test: str) -> dict[str, str]:
        """Those of a test in the JUnit file."""
        (case,) = [case for case in _cases(self.folder) if case.get("name") == test]
        return {one.get("name", ""): one.get("value", "") for one in case.iter("property")}

    def benchmarks(self) -> dict[str, dict[str, Any]]:
        """What pytest-benchmark wrote, by test."""
        written = json.loads((self.folder / "benchmark.json").read_text())
        return {one["name"]: one for one in written["benchmarks"]}

    def runs(self) -> list[dict[str, Any]]:
        """What --throughput-json wrote."""
        found: Any = json.loads((self.folder / "throughput.json").read_text())
        return found if isinstance(found, list) else [found]


def _cases(folder: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(folder / "junit.xml").getroot().iter("testcase"))


def _outcome(case: ElementTree.Element) -> str:
    return next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed")


@pytest.fixture
def project(
    tmp_path: Path, images: Path, surroundings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Session]:
    """Write a test file, run it, and return what came of it."""

    def run(code: str, *arguments: str, name: str = "test_theirs.py") -> Session:
        if code:
            (tmp_path / name).write_text(code)
        command = [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}",
            f"--junitxml={tmp_path / 'junit.xml'}", f"--throughput-data={images}",
            f"--throughput-json={tmp_path / 'throughput.json'}", *TINY, *arguments,
        ]  # fmt: skip
        # Of this session's own pytest nothing is to be inherited.
        environment = {key: value for key, value in surroundings.items() if not key.startswith("PYTEST_")}
        # Where a session leaves the folders of its tests; short, as names of sockets are limited.
        environment["TMPDIR"] = str(tmp_path_factory.mktemp("inner"))
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        said = ran.stdout + ran.stderr
        junit = tmp_path / "junit.xml"
        outcomes = (
            {case.get("name", ""): _outcome(case) for case in _cases(tmp_path)} if junit.exists() else {}
        )
        return Session(ran.returncode, said, tmp_path, outcomes)

    return run
