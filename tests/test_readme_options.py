"""The README names no option that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from throughput.reference.commands import commands
from throughput.reference.pytest_part import pytest_options

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
OF_OTHERS = {
    "--version", "--pyargs", "--junitxml",
    "--nproc-per-node", "--kills",
    "--benchmark-save", "--benchmark-compare", "--benchmark-only", "--benchmark-disable",
}  # fmt: skip
"""Of ``throughput`` without a command, of pytest, of torchrun, of a benchmark, and of pytest-benchmark."""


def known_options() -> dict[str, set[str]]:
    """By command of ``throughput``; under "" those of all commands and of the pytest plugin together."""
    options = {
        name: {word for one in command.params for word in (*one.opts, *one.secondary_opts)} | {"--help"}
        for name, command in commands(everything=False).items()
    }
    of_pytest = {name for names, _ in pytest_options() for name in names}
    return options | {"": of_pytest.union(*options.values()) | OF_OTHERS}


def unknown_options(document: str) -> list[str]:
    """What code names as options and no command takes; of a command that it names, what that one does not."""
    options = known_options()
    blocks = re.findall(r"^```console\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in re.sub(r"\\\n", " ", block).splitlines()]
    text = re.sub(r"^```.*?^```$", "", document, flags=re.DOTALL | re.MULTILINE)
    unknown: list[str] = []
    for code in [*lines, *re.findall(r"`([^`]+)`", text)]:
        # What stands behind " -- " a command hands on to pytest.
        for part in re.split(" && | -- ", code.removeprefix("$ ")):
            named = re.match(rf"(?:throughput )?({'|'.join(options)})(?= |$)", part)
            taken = options[named[1] if named else ""]
            unknown += [f"{option} in {part!r}" for option in OPTION.findall(part) if option not in taken]
    return unknown


def test_the_readme_names_options_that_exist():
    assert unknown_options(README) == []


@pytest.mark.parametrize(
    "fault",
    [
        "with `--bacth 3`",
        "`pack --restrat`",
        "```console\n$ throughput list --batch 3\n```\n",
        "```console\n$ pip install x && throughput bench \\\n    --loaders dali\n```\n",
        "```console\n$ throughput bench\ndali: raise --second\n```\n",
    ],
)
def test_an_option_that_does_not_exist_would_be_found(fault):
    assert len(unknown_options(f"{README}\n{fault}")) == 1
