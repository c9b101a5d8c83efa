"""What a session opens with is told by the session."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from throughput.measure.environment import Finding
from throughput.measure.nvml import Gpu, NoNvmlError
from throughput.models import sessions

GPU = Gpu("Abacus", "GPU-abc", "580.1", 10**10, 900, 1800, 2600, 300.0)


class FakeSession:
    opens: tuple[str, ...] = ("CUDAExecutionProvider", "CPUExecutionProvider")

    def __init__(self, _model: bytes, providers: list[str]) -> None:
        print("a session talks")
        self._providers = [provider for provider in providers if provider in self.opens]

    def get_providers(self) -> list[str]:
        return self._providers


class SessionWithoutCuda(FakeSession):
    opens = ("CPUExecutionProvider",)


def put(monkeypatch: pytest.MonkeyPatch, session: type[FakeSession], *builds: str, gpu: bool) -> None:
    def absent() -> tuple[Gpu, ...]:
        raise NoNvmlError("no NVIDIA driver")

    library: Any = SimpleNamespace(InferenceSession=session, preload_dlls=lambda: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", library)
    monkeypatch.setattr(sessions, "_version", lambda build: "1.99" if build in builds else None)
    monkeypatch.setattr(sessions, "list_gpus", (lambda: (GPU,)) if gpu else absent)


def test_the_model_is_valid_and_is_the_identity() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    numpy = pytest.importorskip("numpy")
    session = onnxruntime.InferenceSession(sessions.IDENTITY_MODEL, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"x": numpy.array([2.5], dtype=numpy.float32)})
    assert output.tolist() == [2.5]


def test_cuda_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, FakeSession, "onnxruntime-gpu", gpu=True)
    assert list(sessions.diagnose()) == [
        Finding("onnxruntime", "onnxruntime-gpu 1.99; CUDAExecutionProvider")
    ]


def test_falling_back_is_a_problem_only_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, SessionWithoutCuda, "onnxruntime-gpu", gpu=True)
    (finding,) = sessions.diagnose()
    assert finding.problem
    assert "onnxruntime-gpu[cuda,cudnn]" in str(finding.cure)
    put(monkeypatch, SessionWithoutCuda, "onnxruntime-gpu", gpu=False)
    (finding,) = sessions.diagnose()
    assert finding.problem is None


def test_two_builds_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, FakeSession, "onnxruntime-gpu", "onnxruntime", gpu=False)
    (finding,) = sessions.diagnose()
    assert "two builds" in str(finding.problem)
    assert "pip uninstall" in str(finding.cure)


def test_a_broken_and_an_absent_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, FakeSession, "onnxruntime", gpu=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (finding,) = sessions.diagnose()
    assert finding.value.endswith("does not open")
    put(monkeypatch, FakeSession, gpu=False)
    assert list(sessions.diagnose()) == []


def test_stdout_stays_clean(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    put(monkeypatch, FakeSession, "onnxruntime", gpu=False)
    list(sessions.diagnose())
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == "a session talks\n"
