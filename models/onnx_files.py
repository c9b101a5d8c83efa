"""``.onnx`` files: what a file says of itself, and which files are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from throughput.contracts import IMAGE_SIZE, IMAGENET_MEAN, IMAGENET_STD, Source
from throughput.errors import ThroughputError, first_line
from throughput.training.checkpoint import (
    MOST_OUTPUTS,
    MOST_PIXELS_A_SIDE,
    Subject,
    outputs_for,
    subject_from,
)

if TYPE_CHECKING:
    from onnx import ModelProto

Layout = Literal["float32 NCHW", "uint8 NHWC"]
"""What the graph takes: ready images, or raw ones, which it normalises itself."""

LEAST_OPSET = 13
"""Quantising a weight channel by channel needs QuantizeLinear of this opset (ONNX Operators.md)."""
MOST_BYTES = 2**31 - 1
"""A protobuf message, and so an .onnx file without external data, is no longer (protobuf.dev, Encoding)."""
_FLOAT32, _UINT8 = 1, 2
"""TensorProto.DataType in onnx.proto3."""
_OURS = "throughput."
"""Prefix of the metadata that this package writes."""


class OnnxError(ThroughputError):
    """A file is no ONNX model, or none that can be used here."""


@dataclass(frozen=True)
class OnnxFile:
    """A model in a file that was read and looked at, without onnxruntime.

    data: the file. input, output: names. subject: what it knows, from its metadata; of a file that another
    program wrote, guessed from its shapes, with ``foreign`` True. opset: of the standard operators.
    precision: fp32, or what ``throughput quantize`` made of it. command: that made the weights; "": unknown.
    """

    path: Path
    data: bytes
    input: str
    output: str
    layout: Layout
    subject: Subject
    opset: int
    precision: str = "fp32"
    command: str = ""
    foreign: bool = False

    def for_source(self, source: Source) -> Subject:
        """Its subject; a foreign file's has the source's classes, if it gives as many outputs."""
        subject = self.subject
        if not self.foreign or subject.outputs != outputs_for(source):
            return subject
        return replace(subject, classes=source.classes)


def read_onnx(path: Path) -> OnnxFile:
    """Read a file. Raises OnnxError, naming what is wrong and what to do."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OnnxError(f"cannot read {path}: {error.strerror}") from error
    return describe(path, data)


def describe(path: Path, data: bytes) -> OnnxFile:
    """What a model says of itself; ``path`` is for messages. Raises OnnxError."""
    model = parse(path, data)
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    if opset < LEAST_OPSET:
        raise OnnxError(
            f"{path} is of opset {opset}, and {LEAST_OPSET} or newer is wanted: export it again, or convert "
            "it with onnx.version_converter"
        )
    weights = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1 or not model.graph.output:
        raise OnnxError(
            f"{path} takes {len(inputs)} inputs and gives {len(model.graph.output)} outputs: "
            "one input of images and an output are wanted"
        )
    told = {one.key: one.value for one in model.metadata_props}
    layout, shape = _input(path, inputs[0])
    if shape[0] is not None:
        raise OnnxError(
            f"{path} takes exactly {shape[0]} images at a time, and batches come in any size: export it with "
            "an open batch (`throughput export` does)"
        )
    outputs = _shape(model.graph.output[0])
    subject = _subject(path, told) or _guessed(path, shape, outputs)
    if subject.outputs != (outputs[-1] if outputs else None) and outputs and outputs[-1]:
        raise OnnxError(f"{path} tells of {subject.outputs} outputs, and its graph gives {outputs[-1]}")
    return OnnxFile(
        path,
        data,
        inputs[0].name,
        model.graph.output[0].name,
        layout,
        subject,
        opset,
        told.get(f"{_OURS}precision", "fp32"),
        told.get(f"{_OURS}command", ""),
        foreign=f"{_OURS}subject" not in told or told.get(f"{_OURS}foreign") == "true",
    )


def parse(path: Path, data: bytes) -> ModelProto:
    """The model's protobuf. Raises OnnxError for what is none, or has its weights elsewhere."""
    import onnx

    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's error is of a class that is not public
        raise OnnxError(f"{path} is no ONNX file: {first_line(error)}") from error
    if not model.graph.node or not model.opset_import:
        raise OnnxError(f"{path} is no ONNX file: it holds no graph")
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in _tensors(model)):
        raise OnnxError(
            f"{path} keeps its weights in files beside it (external data), which is not read here: save it "
            "as one file, with onnx.save_model(model, path, save_as_external_data=False), if it is below 2 GB"
        )
    return model


def _tensors(message: Any) -> Iterator[Any]:
    """All tensors of a model, be they weights, constants, sparse ones, or those of a graph within a node."""
    import onnx

    waiting = [message]
    while waiting:
        one = waiting.pop()
        if isinstance(one, onnx.TensorProto):
            yield one
            continue
        for field, value in one.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "ListFields") else value


def with_metadata(
    model: ModelProto,
    subject: Subject,
    *,
    precision: str,
    command: str,
    layout: Layout,
    foreign: bool = False,
) -> bytes:
    """The model as bytes, saying of itself what this package needs, and what people want to know.

    foreign: what the subject tells was guessed. Raises OnnxError for one that is too large for a single file.
    """
    told = {
        "model": subject.model,
        "classes": json.dumps(subject.classes),
        "image_size": str(subject.image_size),
        "channels": str(subject.channels),
        "mean": json.dumps(subject.mean),
        "std": json.dumps(subject.std),
        "input": layout,
        f"{_OURS}subject": json.dumps(asdict(subject)),
        f"{_OURS}precision": precision,
        f"{_OURS}command": command,
        f"{_OURS}foreign": json.dumps(foreign),
    }
    del model.metadata_props[:]
    for key, value in told.items():
        model.metadata_props.add(key=key, value=value)
    require_size(model.ByteSize(), subject.model)
    return bytes(model.SerializeToString())


def require_valid(data: bytes, name: str) -> None:
    """Raise OnnxError where ONNX's own checker finds fault with a model."""
    import onnx

    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as error:  # of a class that is not public
        raise OnnxError(f"what was made of {name} is not valid ONNX: {first_line(error)}") from error


def require_size(size_bytes: int, name: str) -> None:
    """Raise OnnxError where a model does not fit into a single file."""
    if size_bytes > MOST_BYTES:
        raise OnnxError(
            f"{name} takes {size_bytes / 1e9:.2f} GB, and a single .onnx file ends at 2 GB: beyond, the "
            "weights go into files beside it (external data), which is not written here: choose a smaller one"
        )


def _input(path: Path, value: Any) -> tuple[Layout, list[int | None]]:
    kind, shape = value.type.tensor_type.elem_type, _shape(value)
    if len(shape) == 4 and kind == _UINT8 and shape[3] in (1, 3):
        return "uint8 NHWC", [shape[0], shape[3], shape[1], shape[2]]
    if len(shape) == 4 and kind == _FLOAT32 and shape[1] in (1, 3):
        return "float32 NCHW", shape
    told = ", ".join("?" if side is None else str(side) for side in shape)
    raise OnnxError(
        f"{path} takes an input of shape ({told}) and ONNX type {kind}: float32 images (N, C, S, S) are "
        "wanted, or uint8 ones (N, S, S, C), of 1 or 3 channels"
    )


def _shape(value: Any) -> list[int | None]:
    """None for a side that is left open."""
    sides = value.type.tensor_type.shape.dim
    return [side.dim_value if side.HasField("dim_value") else None for side in sides]


def _subject(path: Path, told: Mapping[str, str]) -> Subject | None:
    """What the metadata tell; None of a file that is not ours."""
    if f"{_OURS}subject" not in told:
        return None
    try:
        values = json.loads(told[f"{_OURS}subject"])
    except (ValueError, RecursionError) as error:
        raise OnnxError(f"{path} has damaged metadata: {error}") from error
    return subject_from(path, values)


def _guessed(path: Path, shape: list[int | None], outputs: list[int | None]) -> Subject:
    """Of a foreign file: sizes from its shapes, ImageNet's scale."""
    channels, height, width = shape[1:]
    assert channels is not None
    if height != width:
        raise OnnxError(f"{path} takes images of {height} x {width}: square ones are wanted")
    if height is not None and not 0 <= height <= MOST_PIXELS_A_SIDE:
        raise OnnxError(
            f"{path} takes images of {height} pixels a side: 1 to {MOST_PIXELS_A_SIDE} are possible"
        )
    if len(outputs) != 2 or not outputs[1] or not 0 < outputs[1] <= MOST_OUTPUTS:
        raise OnnxError(f"{path} does not tell how many classes it knows: an output (N, classes) is wanted")
    mean, std = (
        scale if channels == len(scale) else (round(sum(scale) / len(scale), 6),)
        for scale in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return Subject(path.name, (), outputs[1], channels, height or IMAGE_SIZE, mean, std, "resized")
