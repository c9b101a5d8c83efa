"""``throughput drill``: its table, its exit status, and what it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import throughput.drill.run
from throughput.cli.drill import command
from throughput.drill.found import Drill, Found
from throughput.drill.planting import FAULTS

Run = Callable[..., CompletedProcess[str]]
READ = Found("torchvision", "cmyk", "files", "raise", "read", "", 0, 1.0, 1.25)
SILENT = Found("torchvision", "empty", "files", "skip", "SILENT", "2 samples never come", 2, 1.0, 0.5)
UNKNOWN = Found(
    "roi", "flipped-body", "packed", "skip", "undetectable", "their bytes do not tell", 1, 1.0, 1.0
)


def test_a_loader_that_passes(throughput: Run, images: Path, tmp_path: Path) -> None:
    path = tmp_path / "drill.json"
    done = throughput(
        "drill", "--data", images, "--loader=torchvision", "--faults=empty,cmyk", "--on-error=raise",
        "--samples=12", "--workers=1", "--json", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "on error: raise" in done.stdout
    assert "no fault stays silent, hangs a loader or ends it without a word" in done.stdout
    cells = json.loads(path.read_text())["cells"]
    assert [(cell["fault"], cell["lies"], cell["outcome"]) for cell in cells] == [
        ("none", "files", "read"),
        ("none", "packed", "read"),
        ("empty", "files", "raised"),
        ("empty", "packed", "raised"),
        ("cmyk", "files", "read"),
        ("cmyk", "packed", "read"),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--faults=rust",), "no fault is called 'rust'"),
        (("--on-error=pray",), "--on-error must be some of raise, skip, substitute"),
        (("--loader=rolodex",), "no loader is called 'rolodex'"),
        (("--share=2",), "--share"),
        (("--samples=0",), "--samples"),
        (("--data=/nowhere",), "/nowhere"),
    ],
)
def test_wrong_input(here: Run, images: Path, arguments: tuple[str, ...], words: str) -> None:
    done = here("drill", f"--data={images}", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_help_names_every_fault() -> None:
    told = set(re.findall(r"[a-z]+(?:-[a-z]+)*(?=[,.])", command.help or ""))
    assert set(FAULTS) <= told


def given(monkeypatch: pytest.MonkeyPatch, *found: Found, interrupted: bool = False) -> None:
    """Let a drill find this."""

    def drill(source: object, settings: object, progress: object, on_found: Callable[[Drill], None]) -> Drill:  # noqa: ARG001 - as the real one takes them
        known = Drill(
            "photos", 20, 1, 0.02, 0, found, ("flipped-body in shards: no sample can have it there",)
        )
        on_found(known)
        if interrupted:
            raise KeyboardInterrupt
        return known

    monkeypatch.setattr(throughput.drill.run, "drill", drill)


def test_the_table_and_what_is_said_beside_it(
    here: Run, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, READ, SILENT, UNKNOWN)
    done = here("drill", "--data", images)
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["torchvision", "cmyk", "files", "read", "1.25x"] in rows
    assert ["torchvision", "empty", "files", "SILENT", "0.50x"] in rows
    assert ["roi", "flipped-body", "packed", "undetectable", "1.00x"] in rows
    assert "torchvision: empty in files, skip: SILENT: 2 samples never come" in done.stdout
    assert "3 cells of 2 loaders over 20 samples: 1 read, 1 SILENT, 1 undetectable; 1 failed" in done.stdout
    assert "1 images of photos cannot be decoded and were left out" in done.stderr
    assert "no sample can have it there" in done.stderr


def test_what_is_undetectable_is_no_failure(here: Run, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, READ, UNKNOWN)
    assert here("drill", "--data", images).returncode == 0


def test_what_is_known_at_an_interrupt_is_told(
    here: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []

    def end(status: int) -> None:
        ended.append(status)
        raise SystemExit(status)

    monkeypatch.setattr("os._exit", end)
    given(monkeypatch, READ, interrupted=True)
    path = tmp_path / "drill.json"
    done = here("drill", "--data", images, "--json", path)
    assert done.returncode == 130
    assert ended == [130]
    assert "cmyk" in done.stdout
    assert json.loads(path.read_text())["cells"][0]["outcome"] == "read"
