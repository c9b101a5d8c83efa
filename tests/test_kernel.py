"""Machine code that is kept: found as long as no kernel has changed, and made by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import throughput.kernel
from throughput.kernel import one_process_compiles

INNER = """
from throughput.kernel import kernel

@kernel
def inner(number):
    return number + {added}
"""
OUTER = """
from throughput.inner import inner
from throughput.kernel import kernel

@kernel
def outer(number):
    return 10 * inner(number)

if __name__ == "__main__":
    print(outer(1), sum(outer.stats.cache_hits.values()))
"""


def test_kept_code_is_not_used_where_a_kernel_of_another_file_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "throughput"
    package.mkdir()
    for name in ("kernel.py", "cache.py", "errors.py"):
        shutil.copy(Path(throughput.kernel.__file__).with_name(name), package / name)
    (package / "__init__.py").touch()
    (package / "outer.py").write_text(OUTER)

    def result(added: int) -> str:
        """The product, and how often kept machine code was used."""
        (package / "inner.py").write_text(INNER.format(added=added))
        surroundings = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
        command = [sys.executable, "-m", "throughput.outer"]
        run = subprocess.run(
            command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    assert [result(1), result(1), result(2), result(1)] == ["20 0", "20 1", "30 0", "20 1"]


def test_one_process_compiles_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path))
    with one_process_compiles():
        (path,) = tmp_path.iterdir()
        with path.open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_where_nothing_can_be_written_each_compiles_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "file" / "cache"))
    with one_process_compiles():
        pass
