"""A session runs where it was asked to run, or says why not: never a CPU's number under another name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from throughput.errors import OptionError
from throughput.inferred import Runtime
from throughput.models import providers
from throughput.models.providers import ProviderError, heard, open_session
from throughput.models.sessions import IDENTITY_MODEL

NO_CUDA = "CUDAExecutionProvider" not in onnxruntime.get_available_providers()


def test_a_session_on_the_cpu_tells_of_itself() -> None:
    opened = open_session(IDENTITY_MODEL, "cpu", 1)
    assert (opened.provider, opened.chosen, opened.threads, opened.fallback_nodes) == ("cpu", None, 1, 0)
    assert opened.session.get_providers() == ["CPUExecutionProvider"]
    assert opened.session.get_session_options().intra_op_num_threads == 1


def test_auto_says_what_it_chose(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    opened = open_session(IDENTITY_MODEL, "auto", 1)
    assert (opened.provider, opened.chosen) == ("cpu", "torch finds no GPU")


@pytest.mark.skipif(NO_CUDA, reason="this build of onnxruntime has no CUDA")
def test_auto_says_why_a_gpu_is_not_used(monkeypatch) -> None:
    """Of a machine whose GPU torch sees and onnxruntime's CUDA does not open."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setitem(providers.PROVIDERS, "cuda", "NoSuchExecutionProvider")
    opened = open_session(IDENTITY_MODEL, "auto", 1)
    assert opened.provider == "cpu"
    assert str(opened.chosen).startswith("CUDA does not open: ")


def test_names_that_no_provider_has_are_refused() -> None:
    with pytest.raises(OptionError, match="--provider must be auto, cpu, cuda, tensorrt, got 'gpu'"):
        open_session(IDENTITY_MODEL, "gpu", 1)


def test_what_onnxruntime_does_not_take_is_one_line() -> None:
    with pytest.raises(OptionError, match="onnxruntime does not take this model: "):
        open_session(b"no model", "cpu", 1)


def test_a_build_without_the_provider_is_named(monkeypatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match=r"built without it.*pip uninstall"):
        open_session(IDENTITY_MODEL, "cuda", 1)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Failed to load x with error: libcudnn.so.9: cannot open shared object file: ...", "libcudnn.so.9"),
        ("libcuda.so.1: cannot open shared object file", "no NVIDIA driver"),
        ("2026-11-25 10:00:00.0 [E:onnxruntime:Default, x.cc:1 F] Failed. Require 12.*", "Failed. Require"),
        ("", "does not say why"),
    ],
)  # fmt: skip
def test_the_cause_is_found_in_what_was_said(said: str, cause: str) -> None:
    assert cause in providers._cause(said, None, "cuda")


PROGRAM = """
import sys
from throughput.errors import ThroughputError
from throughput.models.providers import open_session
from throughput.models.sessions import IDENTITY_MODEL
import onnxruntime
assert onnxruntime.__file__.startswith(sys.argv[1]), onnxruntime.__file__
try:
    open_session(IDENTITY_MODEL, "cuda", 1)
except ThroughputError as error:
    print(error)
else:
    print("it ran")
"""


@pytest.mark.skipif(NO_CUDA, reason="this build of onnxruntime has no CUDA")
def test_a_broken_provider_library_is_an_error_and_no_session(tmp_path: Path) -> None:
    """onnxruntime with the file of its CUDA provider renamed; all else of it is linked to."""
    installed = Path(onnxruntime.__file__).parent
    copy = tmp_path / "onnxruntime"
    (copy / "capi").mkdir(parents=True)
    for one in installed.iterdir():
        if one.name != "capi":
            (copy / one.name).symlink_to(one)
    for one in (installed / "capi").iterdir():
        if "providers_cuda" in one.name:
            (copy / "capi" / f"{one.name}.broken").symlink_to(one)
        elif one.suffix == ".so" or ".so." in one.name:
            # It looks for providers beside itself, links followed.
            if "tensorrt" not in one.name:
                shutil.copy(one, copy / "capi" / one.name)
        else:
            (copy / "capi" / one.name).symlink_to(one)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert "libonnxruntime_providers_cuda.so is missing" in ran.stdout
    assert "it ran" not in ran.stdout


def test_nothing_is_printed_while_a_session_opens(capfd) -> None:
    with heard() as said:
        os.write(1, b"a library talks on stdout\n")
        os.write(2, b"and on stderr\n")
    assert said() == "a library talks on stdout\nand on stderr\n"
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


class Elsewhere:
    """A session whose nodes went to another provider than the one that is registered first."""

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda count=count: [None] * count)
            for name, count in (("CPUExecutionProvider", 3), ("CUDAExecutionProvider", 5))
        ]


def test_nodes_that_another_provider_took_are_counted() -> None:
    assert providers._places(Elsewhere(), "CUDAExecutionProvider") == (8, 3)
    assert providers._places(Elsewhere(), "TensorrtExecutionProvider") == (8, 8)
    assert providers._places(object(), "CUDAExecutionProvider") == (None, None)
    assert providers._places(object(), "CPUExecutionProvider") == (None, 0)


def test_words_tell_what_fell_back() -> None:
    told = Runtime("onnxruntime", "fp32", provider="cuda", threads=2, nodes=8, fallback_nodes=3)
    assert told.words == "onnxruntime, fp32, ran on cuda; 3 of 8 nodes FELL BACK to another provider"
    assert replace(told, fallback_nodes=0).words.endswith("; all 8 nodes there")
    assert "could not be counted" in replace(told, fallback_nodes=None).words
    on_cpu = Runtime("onnxruntime", "int8-static", provider="cpu", chosen="torch finds no GPU", threads=1)
    assert on_cpu.words == "onnxruntime, int8-static, ran on cpu (torch finds no GPU), 1 thread"
