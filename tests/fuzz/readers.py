"""All readers of foreign bytes that are fuzzed, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from judging import Case, Reader


def _from(module: str, function: str) -> Callable[[Path], Case]:
    """Its cases, imported by the process that runs them: some need torch, most do not."""

    def made(folder: Path) -> Case:
        case: Case = getattr(import_module(module), function)(folder)
        return case

    return made


FAULTY = Reader("faulty", _from("faulty_cases", "faulty"))
"""Shows that faults are seen."""
READERS = {
    reader.name: reader
    for reader in (
        Reader("tar", _from("source_cases", "tars")),
        Reader("index", _from("source_cases", "indexes")),
        Reader("samples", _from("source_cases", "sample_indexes")),
        Reader("manifest", _from("source_cases", "manifests")),
        Reader("arrays", _from("source_cases", "arrays")),
        Reader("results", _from("results_cases", "results")),
        Reader("splice", _from("jpeg_cases", "splices"), kernels=True),
        Reader("transcode", _from("jpeg_cases", "transcodings"), kernels=True),
        Reader("regions", _from("jpeg_cases", "regions"), kernels=True),
        Reader("checkpoint", _from("model_cases", "checkpoints")),
        Reader("weights", _from("model_cases", "weights")),
        Reader("onnx", _from("model_cases", "onnx_files")),
    )
}
