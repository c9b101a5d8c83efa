"""Batches become ready on the device, behind the host's back, and are what the CPU makes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from throughput.contracts import Work
from throughput.measure.feed import Feed
from throughput.registry import load_loader
from throughput.sources import open_source
from throughput.testing import write_contract_images


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    source = open_source(write_contract_images(tmp_path / "images"))
    return Work(source, image_size=32, batch_size=8, workers=2, device="cuda:0")


def _ready(work: Work) -> list[torch.Tensor]:
    factory = load_loader("torchvision")
    with factory.open(work, factory.Options()) as loader:
        return [batch.images.clone() for batch in Feed(loader, work).epoch(0)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_ready_on_the_gpu_is_ready_on_the_cpu(work: Work, dtype: str) -> None:
    work = replace(work, compute_dtype=dtype)
    on_gpu = _ready(work)
    on_cpu = _ready(replace(work, device="cpu"))
    for ours, theirs in zip(on_gpu, on_cpu, strict=True):
        assert ours.is_cuda
        assert ours.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(ours.cpu().float(), theirs.float(), atol=0.02, rtol=0.01)


def test_a_batch_is_ready_before_the_callers_stream_reads_it(work: Work) -> None:
    factory = load_loader("torchvision")
    with factory.open(work, factory.Options()) as loader:
        sums = [float(batch.images.sum()) for batch in Feed(loader, work).epoch(0)]
    assert sums == pytest.approx([float(images.sum()) for images in _ready(work)])
