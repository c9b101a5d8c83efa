"""Smaller numbers, nearly the same answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from throughput.errors import OptionError
from throughput.models.onnx_files import OnnxError, describe, read_onnx
from throughput.models.quantising import KINDS, METHODS, Calibration, calibration_batches, quantise
from throughput.training.judging import Judging


@pytest.fixture
def judging(trained) -> Judging:
    return Judging(trained.source, batch_size=16, workers=1, device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_answers_stay_nearly_the_same(trained, judging, tmp_path, kind) -> None:
    given = read_onnx(trained.onnx)
    made = quantise(given, kind, judging, Calibration(images=20))
    found = describe(tmp_path / "made.onnx", made)
    assert (found.precision, found.subject, found.command) == (kind, given.subject, given.command)
    assert len(made) < 0.6 * len(given.data)
    images = torch.cat(calibration_batches(given, judging, 40)).numpy()
    first, second = (
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"images": images})[
            0
        ]
        for data in (given.data, made)
    )
    assert second.dtype == np.float32
    assert (first.argmax(1) == second.argmax(1)).mean() >= 0.95
    assert not np.array_equal(first, second), "nothing was rounded"


def test_weights_are_quantised_channel_by_channel(trained, judging) -> None:
    made = onnx.load_model_from_string(
        quantise(read_onnx(trained.onnx), "int8-static", judging, Calibration(images=10, method="entropy"))
    )
    scales = [one for one in made.graph.initializer if one.name.endswith("weight_scale")]
    assert scales
    assert max(one.dims[0] for one in scales if one.dims) >= 32


@pytest.mark.parametrize("method", METHODS)
def test_images_that_fill_no_whole_batch_calibrate(trained, judging, method) -> None:
    given = read_onnx(trained.onnx)
    assert len(torch.cat(calibration_batches(given, judging, 21))) == 21
    assert quantise(given, "int8-static", judging, Calibration(images=21, method=method))


def test_what_was_quantised_of_another_program_s_file_knows_the_classes(trained, judging, tmp_path) -> None:
    given = replace(read_onnx(trained.onnx), foreign=True)
    given = replace(given, subject=replace(given.subject, classes=()))
    found = describe(tmp_path / "made.onnx", quantise(given, "fp16", judging))
    assert found.for_source(trained.source).classes == trained.source.classes


def test_calibration_looks_at_train_images_only(trained, judging) -> None:
    given = read_onnx(trained.onnx)
    seen = torch.cat(calibration_batches(given, judging, 10_000))
    assert len(seen) == len(trained.source.ids("train"))


def test_wrong_choices_are_refused(trained, judging, tmp_path) -> None:
    given = read_onnx(trained.onnx)
    with pytest.raises(OptionError, match="--to must be one of fp16"):
        quantise(given, "int4", judging)
    with pytest.raises(OptionError, match="--calibration must be one of"):
        Calibration(method="best")  # type: ignore[arg-type] # the wrong value is the point
    with pytest.raises(OptionError, match="--calibration-images"):
        Calibration(images=0)
    half = describe(tmp_path / "half.onnx", quantise(given, "fp16", judging))
    with pytest.raises(OnnxError, match="is fp16 already"):
        quantise(half, "int8-static", judging)
