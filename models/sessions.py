"""onnxruntime: where a session really runs."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from throughput.measure.environment import Finding
from throughput.measure.nvml import NoNvmlError, list_gpus
from throughput.stdout import stdout_to_stderr

_VALUE_TYPE = (
    b"\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01"  # tensor_type 1: elem_type 1 FLOAT, shape 2: one dim of 1
)
IDENTITY_MODEL = (
    b"\x08\x08"  # ModelProto.ir_version (1): 8
    b"\x3a\x37"  # ModelProto.graph (7), 55 bytes:
    b"\x0a\x10"  # .  GraphProto.node (1), 16 bytes:
    b"\x0a\x01x\x12\x01y\x22\x08Identity"  # .  .  input (1) x, output (2) y, op_type (4)
    b"\x12\x01g"  # .  GraphProto.name (2)
    b"\x5a\x0f\x0a\x01x\x12\x0a" + _VALUE_TYPE +  # .  GraphProto.input (11): name 1, type 2
    b"\x62\x0f\x0a\x01y\x12\x0a" + _VALUE_TYPE +  # .  GraphProto.output (12): name 1, type 2
    b"\x42\x02\x10\x0d"  # ModelProto.opset_import (8): version (2) 13
)  # fmt: skip
"""An ONNX model, float32 (1,) x -> y = x. Fields of onnx.proto3, each a tag (number << 3 | wire type)
and a varint, or a length and that many bytes."""

_BUILDS = ("onnxruntime-gpu", "onnxruntime")
_INSTALL = 'pip install "onnxruntime-gpu[cuda,cudnn]"'


def diagnose() -> Iterable[Finding]:
    """Whether onnxruntime opens CUDA where there is a GPU, and whether two builds are in each other's way."""
    installed = [f"{build} {found}" for build in _BUILDS if (found := _version(build))]
    if not installed:
        return
    try:
        gpus = list_gpus()
    except NoNvmlError:
        gpus = ()
    problem = cure = None
    try:
        provider = active_provider(cuda=bool(gpus))
    except Exception as error:  # noqa: BLE001 - a broken installation fails in any way
        provider, problem, cure = "does not open", f"{type(error).__name__}: {error}", _INSTALL
    else:
        if gpus and provider != "CUDAExecutionProvider":
            problem, cure = "sessions run on the CPU despite the GPU, in silence", _INSTALL
    if len(installed) > 1:
        problem = problem or "two builds hold the same module: the one installed last is live"
        cure = f"pip uninstall {' '.join(_BUILDS)}, then {_INSTALL}"
    yield Finding("onnxruntime", f"{', '.join(installed)}; {provider}", problem, cure)


def active_provider(*, cuda: bool) -> str:
    """The provider that a session opens with, where CUDA is asked for (with the CPU behind it) or not.

    ``get_available_providers`` tells what the build was compiled with, GPU or none: only an open session
    tells the truth. The reason why CUDA does not open is printed by onnxruntime on stderr.
    """
    with stdout_to_stderr():
        import onnxruntime

        providers = ["CPUExecutionProvider"]
        if cuda:
            providers.insert(0, "CUDAExecutionProvider")
            # The CUDA libraries lie in wheels of their own, where the dynamic linker does not look.
            # The CPU build lacks the function in old versions.
            if hasattr(onnxruntime, "preload_dlls"):
                onnxruntime.preload_dlls()
        session = onnxruntime.InferenceSession(IDENTITY_MODEL, providers=providers)
        return str(session.get_providers()[0])


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
