"""Cases for files of weights: checkpoints, bare state dicts in both formats of torch, ONNX models."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from judging import Case, Outcome, refused, require
from mutators import flipped, mutated
from numpy.random import Generator
from torch import Tensor, nn

from throughput.errors import ThroughputError
from throughput.models.onnx_files import read_onnx
from throughput.training.checkpoint import Checkpoint, Subject, load_weights, read, save
from throughput.training.weights_file import read_file

_SUBJECT = Subject("cnn_small", ("a", "b"), 2, 3, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), "resized", "f", "d")


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def checkpoints(folder: Path) -> Case:
    """What ``throughput train`` writes: it comes back as it was, or not at all."""
    path = folder / "checkpoint.pt"
    weights = _model().state_dict()
    save(path, Checkpoint(_SUBJECT, weights, {"records": [], "steps": 3}))
    sound = path.read_bytes()

    def case(rng: Generator) -> Outcome:
        forged = rng.integers(3) == 0
        path.write_bytes(_forged(rng, sound) if forged else mutated(rng, sound, sound))
        try:
            found = read(path)
        except ThroughputError as error:
            return refused(error, path)
        _require_bounded(found.weights, path)
        if not forged:
            same = found.subject == _SUBJECT and found.weights.keys() == weights.keys()
            require(same, "another subject, or other weights")
            require(all(torch.equal(found.weights[name], weights[name]) for name in weights), "other weights")
        return "right"

    return case


def _forged(rng: Generator, sound: bytes) -> bytes:
    """A checkpoint whose records are others than they were, with checksums that are right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sound)) as old, zipfile.ZipFile(made, "w") as new:
        entries = old.infolist()
        hit = rng.choice([0, int(rng.integers(len(entries)))])  # the first says what all the others are
        for number, entry in enumerate(entries):
            data = old.read(entry)
            if number == hit:
                data = flipped(rng, data) if rng.integers(2) else mutated(rng, data, data)
            new.writestr(entry.filename, data)
    return made.getvalue()


def _require_bounded(weights: Any, path: Path) -> None:
    held = sum(one.numel() * one.element_size() for one in weights.values())
    require(held <= 4 * path.stat().st_size, f"{held} bytes of weights in {path.stat().st_size}")
    require(all(one.device.type == "cpu" for one in weights.values()), "weights elsewhere")
    [one.sum() for one in weights.values()]  # all of their memory can be read


def weights(folder: Path) -> Case:
    """State dicts of others, in torch's format and in its older one, which has no checksums."""
    model = _model()
    own = {name: one.clone() for name, one in model.state_dict().items()}
    path = folder / "weights.pth"
    sound = []
    for zipped in (True, False):
        data = io.BytesIO()
        torch.save(own, data, _use_new_zipfile_serialization=zipped)
        sound.append(data.getvalue())

    def case(rng: Generator) -> Outcome:
        data = sound[int(rng.integers(2))]
        path.write_bytes(flipped(rng, data) if rng.integers(2) else mutated(rng, data, sound[0]))
        try:
            found = read_file(path)
            if isinstance(found, dict) and all(isinstance(one, Tensor) for one in found.values()):
                _require_bounded(found, path)
            load_weights(model, path)
        except ThroughputError as error:
            return refused(error, path)
        require(all(one.shape == own[name].shape for name, one in model.state_dict().items()), "other shapes")
        return "right"

    return case


def onnx_files(folder: Path) -> Case:
    """ONNX models, as far as they are looked at before onnxruntime has them."""
    import onnx
    from onnx import TensorProto, helper

    from throughput.models.onnx_files import with_metadata

    path = folder / "model.onnx"
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
        ],
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor("weights", TensorProto.FLOAT, [3, 2], [0.5] * 6)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    foreign = model.SerializeToString()
    subject = replace(_SUBJECT, source="", train_digest="")
    ours = with_metadata(model, subject, precision="fp32", command="", layout="float32 NCHW")
    onnx.checker.check_model(ours)

    def case(rng: Generator) -> Outcome:
        data = (ours, foreign)[int(rng.integers(2))]
        path.write_bytes(flipped(rng, data) if rng.integers(2) else mutated(rng, data, foreign))
        try:
            found = read_onnx(path)
        except ThroughputError as error:
            return refused(error, path)
        require(0 < found.subject.outputs <= 1_000_000, "outputs that no model has")
        require(0 < found.subject.image_size <= 1 << 14, "images that no model takes")
        return "right"

    return case
