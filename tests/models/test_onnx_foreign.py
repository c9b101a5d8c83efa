"""ONNX files that would have other files read, or memory taken, by what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from throughput.models.onnx_files import OnnxError, read_onnx


def external() -> Any:
    tensor = TensorProto(name="w", dims=[3, 2], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    return tensor


def model(nodes: list[Any], initializers: list[Any], *, size: int = 32, outputs: int = 2) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def plain(**sizes: int) -> Any:
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["logits"]),
    ]
    return model(nodes, [helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.5] * 6)], **sizes)


def refused(made: Any, path: Path, words: str) -> None:
    path.write_bytes(made.SerializeToString())
    with pytest.raises(OnnxError, match=words) as error:
        read_onnx(path)
    assert str(path) in str(error.value)


def test_the_model_that_is_altered_here_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(plain().SerializeToString())
    assert read_onnx(tmp_path / "m.onnx").subject.outputs == 2


@pytest.mark.parametrize("where", ["initializer", "sparse", "constant", "branch"])
def test_weights_elsewhere_are_found_wherever_they_are_named(tmp_path: Path, where: str) -> None:
    made = plain()
    if where == "initializer":
        made.graph.initializer[0].CopyFrom(external())
    elif where == "sparse":
        made.graph.sparse_initializer.add().values.CopyFrom(external())
    elif where == "constant":
        made.graph.node.append(helper.make_node("Constant", [], ["c"], value=external()))
    else:
        branch = helper.make_graph([], "inner", [], [], [external()])
        made.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))
    refused(made, tmp_path / "m.onnx", "keeps its weights in files beside it")


def test_sizes_that_no_model_has(tmp_path: Path) -> None:
    refused(plain(size=10**9), tmp_path / "m.onnx", "takes images of 1000000000 pixels a side")
    refused(plain(outputs=10**9), tmp_path / "m.onnx", "how many classes")
    refused(plain(outputs=-1), tmp_path / "m.onnx", "how many classes")


@pytest.mark.parametrize("told", ["[" * 100_000, json.dumps({"model": "x"}), "7", "{"])
def test_metadata_that_tell_nothing(tmp_path: Path, told: str) -> None:
    made = plain()
    made.metadata_props.add(key="throughput.subject", value=told)
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(Exception, match=r"m\.onnx") as error:
        read_onnx(path)
    assert type(error.value).__name__ in ("OnnxError", "CheckpointError")
    assert onnx.load_model_from_string(made.SerializeToString())
