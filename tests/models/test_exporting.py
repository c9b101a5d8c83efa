"""What is exported answers as torch does, or is not written."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from throughput.errors import OptionError
from throughput.inferred import Parity
from throughput.models.exporting import Normalising, export
from throughput.models.onnx_files import OnnxError, read_onnx
from throughput.models.parity import parity_of
from throughput.training.checkpoint import read
from throughput.training.judging import Judging
from throughput.training.predictions import Predictions


@pytest.fixture
def judging(trained) -> Judging:
    return Judging(trained.source, batch_size=16, workers=1, device="cpu")


def test_a_file_is_valid_and_takes_any_number_of_images(trained) -> None:
    onnx.checker.check_model(onnx.load(trained.onnx), full_check=True)
    session = onnxruntime.InferenceSession(str(trained.onnx), providers=["CPUExecutionProvider"])
    model = read(trained.checkpoint).load()
    for count in (1, 5):
        images = torch.randn(count, 1, 28, 28)
        (logits,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            assert np.allclose(logits, model(images), atol=1e-5)


def test_preprocessing_can_be_part_of_the_graph(trained, judging, tmp_path) -> None:
    found = read(trained.checkpoint)
    exported = export(found.load(), found.subject, tmp_path / "raw.onnx", judging, embed_preprocessing=True)
    assert exported.layout == read_onnx(exported.path).layout == "uint8 NHWC"
    assert exported.parity.relative < 1e-4
    assert exported.parity.agreement == 1
    pixels = torch.randint(0, 256, (3, 28, 28, 1), dtype=torch.uint8)
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": pixels.numpy()})
    with torch.inference_mode():
        ready = (pixels.permute(0, 3, 1, 2) / 255 - 0.4) / 0.3
        assert np.allclose(logits, found.load()(ready), atol=1e-4)
        assert np.allclose(logits, Normalising(found.load(), found.subject)(pixels), atol=1e-4)


class Wandering(nn.Module):
    """Answers otherwise each time: no export can be like it."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(28 * 28, 2)
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.dense(images.flatten(1)) + self.calls


def test_other_answers_leave_no_file(trained, judging, tmp_path) -> None:
    subject = read(trained.checkpoint).subject
    with pytest.raises(
        OnnxError, match=r"answers otherwise than torch does.*was not written.*limit is 0\.001"
    ):
        export(Wandering(), subject, tmp_path / "out.onnx", judging)
    assert list(tmp_path.iterdir()) == []


class Unexportable(nn.Module):
    """Takes another way for other images: a graph has one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) if images.sum() > 0 else images.flatten(1)[:, :2]


def test_what_torch_cannot_export_is_one_line(trained, judging, tmp_path) -> None:
    subject = read(trained.checkpoint).subject
    with pytest.raises(OnnxError, match="torch cannot export cnn28 to opset 20"):
        export(Unexportable(), subject, tmp_path / "out.onnx", judging)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"opset": 9}, {"opset": 99}, {"limit": 0.0}])
def test_options_that_cannot_work_are_refused(trained, judging, tmp_path, wrong) -> None:
    found = read(trained.checkpoint)
    with pytest.raises(OptionError, match=r"--opset|--limit"):
        export(found.load(), found.subject, tmp_path / "out.onnx", judging, **wrong)


def answers(first: list[list[float]], second: list[list[float]]) -> Parity:
    outputs = torch.cat([torch.tensor(first), torch.tensor(second)], dim=1)
    return parity_of(
        Predictions(torch.arange(len(first)), torch.zeros(len(first), dtype=torch.int64), outputs)
    )


def test_parity_is_of_the_worst_image() -> None:
    found = answers([[1.0, 0.5], [8.0, 9.0]], [[1.0, 0.4], [8.5, 8.0]])
    assert found.largest == pytest.approx(1.0)
    assert found.mean == pytest.approx((0.0 + 0.1 + 0.5 + 1.0) / 4)
    assert found.relative == pytest.approx(1 / 8.5)
    assert found.agreement == 0.5
    assert (found.accuracy, found.reference_accuracy) == (0.5, 1.0)
    assert "-50.00 points" in found.words


def test_numbers_that_are_predicted_have_no_classes() -> None:
    """One that is nearly 0 is no measure of its own error."""
    outputs = torch.tensor([[1e-6, 2e-6], [4.0, 4.0]])
    found = parity_of(Predictions(torch.arange(2), torch.zeros(2), outputs))
    assert found.relative == pytest.approx(1e-6 / 4)
    assert (found.agreement, found.accuracy) == (None, None)
    assert "top-1" not in found.words


def test_answers_that_never_vary_are_told() -> None:
    found = answers([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    assert found.constant
    assert found.relative == 0
    assert "shows little" in found.words
