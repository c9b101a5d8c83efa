"""Limits are read from cgroups of both versions, and provenance is complete without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from throughput.measure import environment as module
from throughput.measure.environment import (
    cpu_model,
    cpu_quota_cores,
    environment,
    git_commit,
    shm_bytes,
    usable_cores,
    usable_memory_bytes,
)
from throughput.measure.nvml import Gpu, NoNvmlError


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "affine_cores", lambda: 64)


def cgroup(root: Path, membership: str, **files: str) -> tuple[Path, Path]:
    """A cgroup tree from path -> content, with ``__`` for ``/``, and this process's place in it."""
    for name, content in files.items():
        file = root / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (root / "membership").write_text(membership)
    return root / "cgroup", root / "membership"


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [
        ("800000 100000", 8),
        ("150000 100000", 2),
        ("140000 100000", 1),
        ("10000 100000", 1),
        ("max 100000", 64),
    ],
)
@pytest.mark.usefixtures("many_cores")
def test_version_2_quota(tmp_path: Path, cpu_max: str, cores: int) -> None:
    assert usable_cores(*cgroup(tmp_path, "0::/job\n", job__cpu_DOT_max=cpu_max)) == cores


@pytest.mark.usefixtures("many_cores")
def test_the_tightest_level_counts(tmp_path: Path) -> None:
    tree = cgroup(
        tmp_path,
        "0::/slice/job/step\n",
        slice__cpu_DOT_max="300000 100000",
        slice__job__cpu_DOT_max="max 100000",
        slice__job__step__cpu_DOT_max="500000 100000",
    )
    assert cpu_quota_cores(*tree) == 3.0


@pytest.mark.usefixtures("many_cores")
def test_version_1_quota(tmp_path: Path) -> None:
    tree = cgroup(
        tmp_path,
        "5:cpu,cpuacct:/job\n1:memory:/job\n0::/\n",
        cpu__job__cpu_DOT_cfs_quota_us="250000",
        cpu__job__cpu_DOT_cfs_period_us="50000",
        cpu__cpu_DOT_cfs_quota_us="-1",
        cpu__cpu_DOT_cfs_period_us="100000",
    )
    assert cpu_quota_cores(*tree) == 5.0
    assert usable_cores(*tree) == 5


@pytest.mark.parametrize("path", ["/docker/0123", "/../../0123"])
@pytest.mark.usefixtures("many_cores")
def test_a_path_of_the_host_falls_back_to_what_is_visible(tmp_path: Path, path: str) -> None:
    assert cpu_quota_cores(*cgroup(tmp_path, f"0::{path}\n", cpu_DOT_max="400000 100000")) == 4.0


@pytest.mark.usefixtures("many_cores")
def test_without_cgroups_affinity_counts(tmp_path: Path) -> None:
    assert cpu_quota_cores(tmp_path, tmp_path / "absent") is None
    assert usable_cores(tmp_path, tmp_path / "absent") == 64


def test_memory_limits(tmp_path: Path) -> None:
    total = psutil.virtual_memory().total
    assert usable_memory_bytes(*cgroup(tmp_path / "a", "0::/job\n", job__memory_DOT_max="1000000")) == 10**6
    assert usable_memory_bytes(*cgroup(tmp_path / "b", "0::/job\n", job__memory_DOT_max="max")) == total
    unlimited = cgroup(
        tmp_path / "c", "3:memory:/job\n", memory__job__memory_DOT_limit_in_bytes="9223372036854771712"
    )
    assert usable_memory_bytes(*unlimited) == total


def test_cpu_model(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Abacus 9000\nprocessor\t: 1\n")
    assert cpu_model(cpuinfo) == "Abacus 9000"
    assert cpu_model(tmp_path / "absent")


def test_shm(tmp_path: Path) -> None:
    assert shm_bytes(tmp_path)
    assert shm_bytes(tmp_path / "absent") is None


def test_git_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    assert git_commit(tmp_path) is None
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == f"{commit}-dirty"


def test_git_commit_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) is None


def test_provenance_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def absent() -> tuple[Gpu, ...]:
        raise NoNvmlError("no NVIDIA driver")

    monkeypatch.setattr(module, "list_gpus", absent)
    found = json.loads(json.dumps(environment()))
    assert found["gpus"] == []
    assert found["gpu_absent_reason"] == "no NVIDIA driver"
    assert 1 <= found["cores_usable"] <= found["cores_online"] == os.cpu_count()
    assert found["memory_bytes"] > 0
    assert {"throughput", "torch", "numpy"} <= set(found["versions"])
    assert capfd.readouterr() == ("", "")


def test_provenance_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu("Abacus", "GPU-1", "580.1", 10**9, 900, 1800, 2600, 300.0)
    monkeypatch.setattr(module, "list_gpus", lambda: (gpu,))
    found = json.loads(json.dumps(environment()))
    assert found["gpus"][0]["name"] == "Abacus"
    assert found["gpus"][0]["memory_bytes"] == 10**9
    assert found["gpu_absent_reason"] is None
