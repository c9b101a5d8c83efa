"""``infer_benchmark`` for pytest: a model in onnxruntime, fed by a loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from throughput.models.infer_benchmark import InferBenchmark
    from throughput.pytesting.measuring import Measured


@pytest.fixture
def infer_benchmark(throughput_measured: Measured) -> InferBenchmark:
    """Call it with a .onnx file: a loader, the session, and both are measured, and the row comes back."""
    from throughput.models.infer_benchmark import InferBenchmark

    return InferBenchmark(throughput_measured)
