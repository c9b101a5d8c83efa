"""REFERENCE.md is what the code says, whole, readable, and the same everywhere."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from throughput import registry
from throughput.cli import COMMANDS
from throughput.cli import command as throughput_command

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "REFERENCE.md").read_text()
RENEW = "REFERENCE.md is not what the code says: renew it by `throughput reference > REFERENCE.md`"
STRANGER = """
from dataclasses import dataclass
from throughput.contracts import LoaderFactory, ModelFamily, Report
import click

@dataclass(frozen=True)
class PebbleOptions:
    '''size: of each | pebble, *roughly*.'''
    size: int = 3

class Pebbles(LoaderFactory):
    name = "pebbles"
    about = "small stones"
    Options = PebbleOptions
    def open(self, work, options):
        raise NotImplementedError

class Rocks(ModelFamily):
    '''Hard ones.'''
    def names(self):
        return ("granite",)
    def build(self, name, num_classes, channels):
        raise NotImplementedError

class Cairn(Report):
    about = "a heap"
    def render(self, runs):
        raise NotImplementedError

@click.command()
@click.option("--shine", is_flag=True)
def polish(shine):
    '''Polish them.'''
"""
REGISTERED = """
[throughput.loaders]
pebbles = stones:Pebbles
mud = stones:not_there
[throughput.models]
rocks = stones:Rocks
[throughput.reports]
cairn = stones:Cairn
[throughput.commands]
polish = stones:polish
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which another package is installed, with plug-ins of every kind."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "stones.py").write_text(STRANGER)
    (folder / "stones-1.0.dist-info").mkdir()
    (folder / "stones-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: stones\nVersion: 1.0\n"
    )
    (folder / "stones-1.0.dist-info" / "entry_points.txt").write_text(REGISTERED)
    return folder


@pytest.mark.parametrize("columns", ["40", "300"])
def test_the_page_is_what_the_command_prints(throughput, surroundings, stranger, tmp_path, columns):
    elsewhere = {
        **surroundings,
        "COLUMNS": columns,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / columns),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONHASHSEED": columns,
        "PYTHONPATH": str(stranger),
        "LC_ALL": "C",
    }
    ran = throughput("reference", env=elsewhere, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    if ran.stdout != PAGE:
        lines = difflib.unified_diff(
            PAGE.splitlines(), ran.stdout.splitlines(), "REFERENCE.md", "printed", n=0
        )
        pytest.fail("\n".join([RENEW, *list(lines)[:20]]), pytrace=False)


def test_all_tells_of_other_packages_too(throughput, surroundings, stranger):
    ran = throughput("reference", "--all", env={**surroundings, "PYTHONPATH": str(stranger)})
    assert (ran.returncode, ran.stderr) == (0, "")
    for text in (
        "| `pebbles` | small stones |",
        r"| `pebbles.size` | whole number | `3` | Of each \| pebble, \*roughly\*. |",
        "| `mud` | cannot load the loader 'mud' from stones:not_there",
        "| `rocks` | Hard ones. | `granite` (224 px) |",
        "| `cairn` | a heap |",
        "### throughput polish",
        "| `--shine` |",
        "`resnet50` (224 px)",
    ):
        assert text in ran.stdout
        assert text not in PAGE
    for name in own_commands():
        assert f"\n### throughput {name}\n" in ran.stdout
    assert problems_of(ran.stdout) == []


def own_commands() -> dict[str, click.Command]:
    context = click.Context(throughput_command)
    extra = [
        name
        for name, entry in registry.extra_commands().items()
        if entry.dist is not None and entry.dist.name == "throughput"
    ]
    found = {name: throughput_command.get_command(context, name) for name in [*COMMANDS, *extra]}
    return {name: command for name, command in found.items() if command is not None}


def section(title: str, page: str = PAGE) -> str:
    """What stands below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {title!r}"
    return found[1]


@pytest.mark.parametrize("name", own_commands())
def test_every_option_of_every_command_is_there(name):
    command = own_commands()[name]
    told_of = section(f"throughput {name}")
    shown = (
        click.Context(command, info_name=name).get_help()
        if False
        else command.get_help(click.Context(command))
    )
    for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)", shown, re.MULTILINE):
        if option != "--help":
            assert re.search(rf"`{option}[ `]", told_of), f"{option} of {name} is missing"
    first = (command.help or "").split("\n")[0].split()[0]
    assert first in told_of


def test_exit_codes_are_told_with_the_commands_that_say_more():
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", section("Exit status"), re.MULTILINE))
    assert list(rows) == ["0", "1", "2", "3", "130", "141"]
    assert {"bench", "certify", "doctor"} <= set(re.findall(r"\[`(\w+)`\]", rows["1"]))
    assert {"bench", "compare", "certify"} <= set(re.findall(r"\[`(\w+)`\]", rows["3"]))
    assert "`list`" not in section("Exit status"), "it says no more than is true of all"


# Markdown


def github_anchor(title: str) -> str:
    """As GitHub makes it: lower case, spaces to hyphens, and of all else letters, digits, - and _ alone."""
    kept = [character for character in title.lower() if character.isalnum() or character in " -_"]
    return "".join(kept).replace(" ", "-")


def problems_of(page: str) -> list[str]:
    """Links that lead nowhere, headings that cannot be told apart, tables that GitHub would show as text."""
    fences = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    anchors = [github_anchor(title) for title in re.findall(r"^#+ (.*)$", fences, re.MULTILINE)]
    problems = [f"two headings are #{anchor}" for anchor in set(anchors) if anchors.count(anchor) > 1]
    for target in re.findall(r"\]\(([^)]+)\)", fences):
        inside = target.removeprefix("#")
        if inside not in anchors if target != inside else not (ROOT / target).is_file():
            problems.append(f"a link to {target} leads nowhere")
    for block in re.findall(r"(?:^\|.*\n?)+", fences, re.MULTILINE):
        header, *rows = [re.split(r"(?<!\\)\|", line.strip()) for line in block.splitlines()]
        if not rows or {cell.strip() for cell in rows[0][1:-1]} != {"---"}:
            problems.append(f"no rule below the header {'|'.join(header)}")
        for row in rows:
            if len(row) != len(header) or row[0] or row[-1]:
                problems.append(f"{len(row) - 2} cells below {len(header) - 2}: {'|'.join(row)}")
    return problems


def test_links_lead_somewhere_and_tables_are_tables():
    assert problems_of(PAGE) == []
    assert len(re.findall(r"^\| --- ", PAGE, re.MULTILINE)) > len(COMMANDS)


@pytest.mark.parametrize(
    "fault",
    [
        "[x](#nothing)\n",
        "[x](NOTHING.md)\n",
        "## Commands\n",
        "| a | b |\n| --- | --- |\n| `x|y` | z |\n",
        "| a | b |\n| x | y |\n",
        "| a | b |\n| --- | --- |\n| x |\n",
    ],
)
def test_a_fault_of_the_page_would_be_found(fault):
    assert len(problems_of(f"{PAGE}\n{fault}")) == 1


def test_the_table_of_contents_names_each_part():
    contents = PAGE.partition("\n## ")[0]
    for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE):
        assert f"- [{title}](#" in contents
    assert len(contents.splitlines()) < 20


@pytest.mark.parametrize("title", ["The whole file", "`rows[]`"])
def test_every_key_is_told_in_words(title):
    assert re.findall(r"^\| .* \|  \|$", section(title), re.MULTILINE) == []
    assert len(re.findall(r"^\| `", section(title), re.MULTILINE)) > 5


def test_own_models_and_reports_are_named():
    for name in ("cnn_small", "cnn28", "resnet9_half"):
        assert f"`{name}` (" in section("Models")
    for entry in entry_points(group=registry.REPORTS):
        if entry.dist is not None and entry.dist.name == "throughput":
            assert f"| `{entry.name}` |" in section("Reports")


# What pytest knows


def pytest_says(*arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 5), ran.stdout + ran.stderr
    return ran.stdout


def test_pytest_knows_these_options(tmp_path):
    known = set(re.findall(r"^  (--throughput-[\w-]+)", pytest_says("--help", cwd=tmp_path), re.MULTILINE))
    assert known
    assert known == set(re.findall(r"^\| `(--[\w-]+)", section("Options of pytest"), re.MULTILINE))


def test_pytest_knows_these_fixtures_and_marks(tmp_path):
    known = set(re.findall(r"^(\w+_benchmark)\b", pytest_says("--fixtures", cwd=tmp_path), re.MULTILINE))
    assert known
    assert known == set(re.findall(r"^\| `(\w+)`", section("Fixtures"), re.MULTILINE))
    marks = re.findall(
        r"^(@pytest\.mark\.throughput.*?\)): ", pytest_says("--markers", cwd=tmp_path), re.MULTILINE
    )
    assert marks
    assert marks == re.findall(r"^\| `(@.*?)`", section("Marks"), re.MULTILINE)
