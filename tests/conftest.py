"""What the tests of the command line and of the Python interface share: small images, and the command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

SECONDS = 120
"""A command that takes longer hangs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The documents first: a worker that came to them last would be busy long after the others."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """31 images in the folders of three classes."""
    from throughput.testing import write_contract_images

    return write_contract_images(tmp_path_factory.mktemp("data") / "images", images_per_class=10)


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of a command: a cache and a temporary folder of its own, a wide terminal."""
    return {
        **os.environ,
        "THROUGHPUT_CACHE": str(tmp_path_factory.mktemp("throughput")),
        "TMPDIR": str(tmp_path_factory.mktemp("tmp")),
        "COLUMNS": "300",
    }


@pytest.fixture(scope="session")
def script() -> str:
    """The installed ``throughput`` command of this Python."""
    path = shutil.which("throughput", path=str(Path(sys.executable).parent)) or shutil.which("throughput")
    assert path is not None, "the throughput command is not installed: pip install -e ."
    return path


@pytest.fixture(scope="session")
def throughput(script: str, surroundings: dict[str, str]) -> Run:
    """Run the installed command and return what it said, as text."""

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"env": surroundings, "capture_output": True, "text": True, "timeout": SECONDS, **options}
        return subprocess.run([script, *map(str, arguments)], check=False, **options)

    return run


@pytest.fixture
def here(
    surroundings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """The same command in this process, for what ends before anything is measured.

    A process of its own would take seconds to import torch.
    """
    from throughput.cli import main

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        for name in ("THROUGHPUT_CACHE", "COLUMNS"):
            monkeypatch.setenv(name, surroundings[name])
        if cwd is not None:
            monkeypatch.chdir(cwd)
        words = ["throughput", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        handler = signal.getsignal(signal.SIGTERM)
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        said = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(words, ended.value.code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Options of a bench that is over at once."""
    return (
        "--size=32", "--batch=8", "--workers=2", "--steps=2", "--repeats=2", "--model=cnn_small",
        "--device=cpu", "--no-certificate",
    )  # fmt: skip
