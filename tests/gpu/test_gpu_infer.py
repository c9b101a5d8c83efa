"""onnxruntime's CUDA provider: the same answers as on the CPU, from batches that lie on the device."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from throughput.models.answering import session_answer
from throughput.models.exporting import export
from throughput.models.onnx_files import OnnxFile, read_onnx
from throughput.models.providers import open_session
from throughput.sources import open_source
from throughput.training.checkpoint import Subject
from throughput.training.judging import Judging


@pytest.fixture(scope="module")
def exported(images, tmp_path_factory) -> OnnxFile:
    source = open_source(images)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    subject = Subject("small", source.classes, 3, 3, 32, (0.5,) * 3, (0.5,) * 3, "resized")
    out = tmp_path_factory.mktemp("gpu") / "small.onnx"
    export(model, subject, out, Judging(source, batch_size=8, workers=1, device="cpu"))
    return read_onnx(out)


@pytest.mark.parametrize(("cuda_graph", "streamed"), [(False, False), (True, False), (False, True)])
def test_answers_on_the_gpu_are_those_of_the_cpu(exported, cuda_graph, streamed) -> None:
    on_cpu = session_answer(open_session(exported.data, "cpu", 1), exported.layout)
    stream = torch.cuda.Stream()
    number = int(stream.cuda_stream) if streamed else None
    opened = open_session(exported.data, "cuda", 1, cuda_graph=cuda_graph, stream=number)
    assert opened.provider == "cuda"
    assert opened.fallback_nodes == 0
    on_gpu = session_answer(opened, exported.layout, fixed_batch=8 if cuda_graph else None)
    for count in (8, 8, 3, 8):
        images = torch.randn(count, 3, 32, 32)
        with torch.cuda.stream(stream):
            answered = on_gpu(images.cuda())
            assert answered.device.type == "cuda"
            assert torch.allclose(answered.cpu(), on_cpu(images), atol=1e-4)


def test_auto_takes_the_gpu_and_says_so(exported) -> None:
    opened = open_session(exported.data, "auto", 1)
    assert (opened.provider, opened.chosen) == ("cuda", "torch finds a GPU")


def test_a_row_tells_of_the_gpu_and_of_transfers(throughput, images, exported, tmp_path) -> None:
    ran = throughput(
        "infer", exported.path, f"--data={images}", "--provider=cuda", "--batch=8", "--workers=2",
        "--seconds=0.2", "--repeats=2", "--no-certificate", f"--json={tmp_path / 'out.json'}",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert (row["status"], row["provider"]) == ("ok", "cuda")
    assert row["runtime"]["host_images_per_second"] > 0
    assert "with transfers from and to the host" in ran.stdout
