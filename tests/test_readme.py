"""Every command and every program in the documents runs, as it stands and in the order in which it stands.

``$ `` lines of ``console`` blocks are run in one temporary folder, ``python`` blocks as scripts; a block
whose first line is ``# file: NAME`` is written to that file instead. Installing, and running the tests
themselves, is left out.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from throughput.cli import COMMANDS
from throughput.registry import extra_commands

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300
"""A step that takes longer hangs."""
LEFT_OUT = (
    "pip",
    "python -m pip",
    "pytest -n 2",
    "git",
    "cd",
    "ruff",
    "mypy",
    "python -m venv",
    "bash .ci/run",
    "uv",
)

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# file: (\S+)\n")
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A shell command, or a program, or a file to write."""

    kind: str
    text: str
    file: str = ""


def steps(document: str) -> list[Step]:
    """What the blocks of a document do, in order."""
    found: list[Step] = []
    for language, text in _BLOCK.findall(document):
        if named := _FILE.match(text):
            found.append(Step("file", text, named[1]))
        elif language == "python":
            found.append(Step("python", text))
        else:
            found += [Step("shell", command) for command in _COMMAND.findall(text) if not left_out(command)]
    return found


def left_out(command: str) -> bool:
    return any(command == start or command.startswith(f"{start} ") for start in LEFT_OUT)


def test_blocks_become_steps():
    document = (
        "```console\n$ pip install x\n$ throughput list\nsome output\n$ a \\\n    b\n```\n"
        "```python\n# file: mine.py\nx = 1\n```\n```python\nprint(1)\n```\n```toml\n[x]\n```\n"
    )
    assert steps(document) == [
        Step("shell", "throughput list"),
        Step("shell", "a \\\n    b"),
        Step("file", "# file: mine.py\nx = 1\n", "mine.py"),
        Step("python", "print(1)\n"),
    ]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_a_document_does_what_it_says(name, surroundings, script, tmp_path, tmp_path_factory):
    found = steps((ROOT / name).read_text())
    assert any(step.kind == "shell" for step in found), f"{name} shows no command"
    environment = {
        **surroundings,
        "THROUGHPUT_CACHE": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path_factory.mktemp("inner")),  # short: names of sockets are limited
        "PATH": f"{Path(script).parent}:{surroundings['PATH']}",
    }
    folder = tmp_path / "work"
    folder.mkdir()
    for number, step in enumerate(found):
        if step.kind == "file":
            (folder / step.file).write_text(step.text)
            continue
        command = ["bash", "-c", step.text]
        if step.kind == "python":
            program = folder / f"program_{number}.py"
            program.write_text(step.text)
            command = [sys.executable, str(program)]
        ran = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert ran.returncode == 0, f"{step.text}\n{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_that_a_document_names_exist(name):
    known = {*COMMANDS, *extra_commands()}
    text = (ROOT / name).read_text()
    shown = [shlex.split(step.text, comments=True) for step in steps(text) if step.kind == "shell"]
    named = {words[1] for words in shown if words[0] == "throughput" and not words[1].startswith("-")}
    named |= set(re.findall(r"`throughput ([a-z]+)", text))
    assert named, f"{name} names no command"
    assert named <= known
