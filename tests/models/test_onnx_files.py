"""What an .onnx file says of itself, and what is refused in one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from throughput.models import onnx_files
from throughput.models.onnx_files import OnnxError, read_onnx, require_size
from throughput.training.errors import CheckpointError


def write(
    folder: Path, shape: list[object], *, kind: int = TensorProto.FLOAT, opset: int = 17, outputs: int = 4
) -> Path:
    """A file of another program: the mean of each image, times a row of weights."""
    weights = numpy_helper.from_array(np.ones((1, outputs), np.float32), "weights")
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1]),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", outputs])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    path = folder / "foreign.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_our_own_files_tell_all(trained) -> None:
    found = read_onnx(trained.onnx)
    assert (found.layout, found.precision, found.foreign) == ("float32 NCHW", "fp32", False)
    assert found.opset == 20
    assert found.command == "throughput train sides"
    assert found.subject.model == "cnn28"
    assert found.subject.classes == trained.source.classes
    assert (found.subject.image_size, found.subject.mean, found.subject.std) == (28, (0.4,), (0.3,))
    told = {one.key: one.value for one in onnx.load(trained.onnx).metadata_props}
    assert told["classes"] == '["0", "1"]'
    assert (told["image_size"], told["mean"], told["std"]) == ("28", "[0.4]", "[0.3]")


def test_a_file_of_another_program_is_known_by_its_shapes(tmp_path, trained) -> None:
    found = read_onnx(write(tmp_path, ["N", 3, 64, 64], outputs=2))
    assert found.foreign
    assert (found.subject.image_size, found.subject.channels, found.subject.outputs) == (64, 3, 2)
    assert found.for_source(trained.source).classes == trained.source.classes
    assert read_onnx(write(tmp_path, ["N", 64, 64, 3], kind=TensorProto.UINT8)).layout == "uint8 NHWC"


@pytest.mark.parametrize(
    ("shape", "kind", "words"),
    [
        (["N", 3, 64], TensorProto.FLOAT, r"shape \(\?, 3, 64\)"),
        (["N", 5, 64, 64], TensorProto.FLOAT, "1 or 3 channels"),
        (["N", 3, 64, 64], TensorProto.DOUBLE, "float32 images"),
        (["N", 3, 64, 48], TensorProto.FLOAT, "64 x 48: square"),
        ([1, 3, 64, 64], TensorProto.FLOAT, "exactly 1 images at a time"),
    ],
)
def test_other_inputs_are_refused(tmp_path, shape, kind, words) -> None:
    with pytest.raises(OnnxError, match=words):
        read_onnx(write(tmp_path, shape, kind=kind))


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(100), b"\x08\x08"])
def test_what_is_no_model_is_refused(tmp_path, content) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(content)
    with pytest.raises(OnnxError, match=r"no\.onnx is no ONNX file"):
        read_onnx(path)
    with pytest.raises(OnnxError, match="cannot read"):
        read_onnx(tmp_path / "absent.onnx")


def test_an_old_opset_is_refused(tmp_path) -> None:
    with pytest.raises(OnnxError, match="of opset 11, and 13 or newer"):
        read_onnx(write(tmp_path, ["N", 3, 64, 64], opset=11))


def test_weights_beside_the_file_are_refused(tmp_path) -> None:
    model = onnx.load(write(tmp_path, ["N", 3, 64, 64]))
    path = tmp_path / "parted.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(OnnxError, match="external data"):
        read_onnx(path)


def test_a_model_beyond_two_gigabytes_is_refused() -> None:
    require_size(onnx_files.MOST_BYTES, "small")
    with pytest.raises(OnnxError, match=r"large takes 2\.20 GB.*ends at 2 GB.*external data"):
        require_size(2_200_000_000, "large")


def test_damaged_metadata_are_refused(tmp_path, trained) -> None:
    model = onnx.load(trained.onnx)
    for one in model.metadata_props:
        if one.key == "throughput.subject":
            one.value = '{"model": "cnn28"}'
    path = tmp_path / "damaged.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="does not say what its weights belong to"):
        read_onnx(path)
