"""Each check tells a problem and its cure where there is one, and none where all is well."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from throughput.measure import diagnosis, environment
from throughput.measure.environment import Finding
from throughput.measure.nvml import Gpu, NoNvmlError

GPU = Gpu("Abacus", "GPU-abc", "580.1", 10**10, 900, 1800, 2600, 300.0)


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "list_gpus", lambda: (GPU,))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> tuple[Gpu, ...]:
        raise NoNvmlError("no NVIDIA driver")

    monkeypatch.setattr(diagnosis, "list_gpus", absent)


def put_torch(monkeypatch: pytest.MonkeyPatch, cuda: str | None, available: bool) -> None:
    def ones(*_shape: int, device: str) -> None:
        raise RuntimeError(f"no kernel image for {device}")

    fake = SimpleNamespace(
        __version__="2.99",
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(is_available=lambda: available),
        ones=ones,
    )
    monkeypatch.setitem(sys.modules, "torch", fake)


def test_a_quota_below_affinity_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "affine_cores", lambda: 64)
    monkeypatch.setattr(environment, "cpu_quota_cores", lambda *_: 4.0)
    finding = only(diagnosis.cores())
    assert finding.value.startswith("4 usable")
    assert finding.problem
    assert "OMP_NUM_THREADS=4" in str(finding.cure)


def test_cores_without_a_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cpu_quota_cores", lambda *_: None)
    assert only(diagnosis.cores()).problem is None


@pytest.mark.parametrize(("free", "cured"), [(64 * 10**6, True), (8 * 10**9, False)])
def test_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, cured: bool) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**10, free=free))
    assert ("--shm-size" in str(only(diagnosis.shared_memory(tmp_path)).cure)) is cured


def test_absent_shared_memory(tmp_path: Path) -> None:
    assert only(diagnosis.shared_memory(tmp_path / "absent")).value == "none"


@pytest.mark.usefixtures("no_gpu")
def test_no_gpu_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    put_torch(monkeypatch, cuda=None, available=False)
    assert only(diagnosis.gpus()).value == "no GPU: CPU pipelines are measured (no NVIDIA driver)"
    assert [finding.problem for finding in (*diagnosis.gpus(), *diagnosis.torch_cuda())] == [None, None]


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize(
    ("cuda", "available", "problem", "cure"),
    [
        (None, False, "cannot use", "pip install"),
        ("13.2", False, "torch sees no GPU", "580.1"),
        ("13.2", True, "no kernel image", "architecture"),
    ],
)
def test_a_gpu_that_torch_cannot_use(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, available: bool, problem: str, cure: str
) -> None:
    put_torch(monkeypatch, cuda, available)
    assert "Abacus, 10.0 GB, driver 580.1" in only(diagnosis.gpus()).value
    finding = only(diagnosis.torch_cuda())
    assert problem in str(finding.problem)
    assert cure in str(finding.cure)


def test_torch_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    finding = only(diagnosis.torch_cuda())
    assert finding.problem
    assert "pip install" in str(finding.cure)


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, free=10**11))
    assert only(diagnosis.cache()).problem is None
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, free=10**6))
    assert "THROUGHPUT_CACHE" in str(only(diagnosis.cache()).cure)


def test_a_cache_folder_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "file" / "cache"))
    finding = only(diagnosis.cache())
    assert finding.problem
    assert "THROUGHPUT_CACHE" in str(finding.cure)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "g++" in str(only(diagnosis.compiler()).cure)
    (tmp_path / "g++").write_text("#!/bin/sh\n")
    (tmp_path / "g++").chmod(0o755)
    assert only(diagnosis.compiler()).problem is None


def test_bfloat16(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("flags\t: fpu amx_bf16 avx512_bf16\n")
    (tmp_path / "old").write_text("flags\t: fpu avx2\n")
    assert only(diagnosis.bfloat16(tmp_path / "new")).value == "amx_bf16, avx512_bf16"
    assert "emulated" in only(diagnosis.bfloat16(tmp_path / "old")).value
    assert "emulated" in only(diagnosis.bfloat16(tmp_path / "absent")).value


def test_the_jpeg_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "libjpeg_turbo_version", lambda: "3.1")
    assert only(diagnosis.jpeg()) == Finding("Pillow's JPEG decoder", "libjpeg-turbo 3.1")
    monkeypatch.setattr(environment, "libjpeg_turbo_version", lambda: None)
    assert "pip install" in str(only(diagnosis.jpeg()).cure)


def test_versions_and_memory() -> None:
    assert "python 3." in only(diagnosis.versions()).value
    assert only(diagnosis.memory()).value.endswith(" GB")
