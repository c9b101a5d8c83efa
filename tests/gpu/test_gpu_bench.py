"""A whole measurement on a GPU: its telemetry, its waits from CUDA events, its accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

import throughput
from throughput.testing import write_contract_images


@pytest.mark.parametrize("loader", ["torchvision", "dali", "replay"])
def test_a_row_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    images = write_contract_images(tmp_path / "images")
    results = throughput.bench(
        loader, images, batch_size=8, image_size=32, model="resnet18", seconds=1, repeats=2, device="cuda"
    )
    (row,) = results.rows
    assert row.status == "ok", row.reason
    assert row.decode == ("gpu" if loader == "dali" else "cpu")
    assert row.gpu_utilisation is not None
    assert row.gpu_memory_bytes
    assert row.train is not None
    assert 0 <= row.train.wait_fraction < 1
    assert results.work["compute_dtype"] in ("bfloat16", "float16")
