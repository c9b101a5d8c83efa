"""Batches become ready on the device, behind the host's back, and are what the CPU makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from throughput.contracts import Augmentation, Batch, Loader, Work
from throughput.measure.feed import Feed
from throughput.measure.waiting import CudaWaiting
from throughput.registry import load_loader
from throughput.sources import open_source
from throughput.testing import write_contract_images

SLEEP_CYCLES = 200_000_000
"""About a tenth of a second of device time."""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    source = open_source(write_contract_images(tmp_path / "images"))
    return Work(source, image_size=32, batch_size=8, workers=2, device="cuda:0")


class SlowOnDevice(Loader):
    """White images that the device has only once it has slept: whoever does not wait reads black ones."""

    samples_per_epoch = 32

    def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - every epoch is the same
        for number in range(4):
            images = torch.zeros((8, 32, 32, 3), dtype=torch.uint8, device="cuda:0")
            torch.cuda._sleep(SLEEP_CYCLES)
            images.fill_(255)
            ids = torch.arange(8 * number, 8 * number + 8)
            yield Batch(images.permute(0, 3, 1, 2), torch.zeros(8, dtype=torch.int64), ids)


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


def test_the_callers_stream_reads_a_batch_only_once_it_is_ready(work: Work) -> None:
    white = (1 - torch.tensor(work.mean)) / torch.tensor(work.std)
    for batch in Feed(SlowOnDevice(), work).epoch(0):
        torch.testing.assert_close(batch.images.mean(dim=(0, 2, 3)).cpu(), white, atol=1e-3, rtol=1e-3)


def test_a_device_that_only_waits_is_seen_to_wait(work: Work) -> None:
    waiting = CudaWaiting(torch.device("cuda:0"))
    for batch in Feed(SlowOnDevice(), work).epoch(0):
        waiting.pulled(0.0)
        batch.images.sum()
        waiting.stepped()
    waits = waiting.finish()
    assert len(waits) == 4
    assert min(waits) > 0.01


def test_crops_are_turned_on_the_gpu_as_on_the_cpu(work: Work) -> None:
    work = replace(work, augmentation=Augmentation(rotation_degrees=40))
    on_gpu, on_cpu = _ready(work), _ready(replace(work, device="cpu"))
    for ours, theirs in zip(on_gpu, on_cpu, strict=True):
        assert ours.is_cuda
        assert ours.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(ours.cpu(), theirs, atol=0.02, rtol=0.01)


def test_noise_is_drawn_on_the_gpu_and_drawn_again_alike(work: Work) -> None:
    noisy = replace(work, augmentation=Augmentation(noise=0.1))
    plain, first, again = (torch.cat(_ready(one)).cpu() for one in (work, noisy, noisy))
    assert torch.equal(first, again)
    std = torch.tensor(work.std).view(1, -1, 1, 1)
    noise = (first - plain) * std
    assert abs(float(noise.std()) - 0.1) < 0.005
    assert abs(float(noise.mean())) < 0.005
