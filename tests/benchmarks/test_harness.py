"""What the harness does for every batch, timed by pytest-benchmark: ``pytest tests/benchmarks``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from throughput.canonical import draw_boxes
from throughput.contracts import Batch, Work
from throughput.measure.feed import finisher
from throughput.measure.ledger import Ledger
from throughput.sources import open_source
from throughput.testing import write_contract_images


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    images = write_contract_images(tmp_path_factory.mktemp("images"), images_per_class=30)
    return Work(open_source(images), batch_size=64)


def test_finishing_a_batch(benchmark: BenchmarkFixture, work: Work) -> None:
    finish = finisher(work)
    images = torch.randint(0, 256, (64, 224, 224, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    batch = Batch(images, torch.zeros(64, dtype=torch.int64), torch.arange(64))
    benchmark(finish, batch)


def test_counting_a_batch(benchmark: BenchmarkFixture) -> None:
    ledger = Ledger(np.arange(1_281_167))
    ledger.begin(0)
    benchmark(ledger.add, np.random.default_rng(0).permutation(1_281_167)[:256])


def test_drawing_the_crops_of_a_batch(benchmark: BenchmarkFixture, work: Work) -> None:
    sizes = np.full(64, 400)
    benchmark(draw_boxes, work, 0, np.arange(64), sizes, sizes)
