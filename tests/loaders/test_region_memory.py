"""What regions take of the memory: little more than their pixels, and none of it for ever."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from region_pictures import every_id, rendered, work_over, written

from throughput.loaders.regions import Renderer, Ways


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))


def test_a_large_image_takes_little_more_memory_than_its_pixels(tmp_path: Path) -> None:
    side = 1600
    flat = simplejpeg.encode_jpeg(np.full((side, side, 3), 99, np.uint8), colorsubsampling="444")
    work = work_over(written(tmp_path / "images", {"flat.jpg": flat}))
    rendered(work_over(work.source), Ways())  # what is made once for a process does not count
    tracemalloc.start()
    try:
        rendered(work, Ways())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 4 * side**2 <= peak < 1.5 * 4 * side**2


def test_the_memory_of_a_huge_image_is_given_back(tmp_path: Path) -> None:
    side = 4200
    flat = simplejpeg.encode_jpeg(np.full((side, side, 3), 99, np.uint8), colorsubsampling="420")
    work = work_over(written(tmp_path / "images", {"flat.jpg": flat}))
    renderer, ids = Renderer(work, Ways()), every_id(work.source)
    out = np.empty((1, 48, 48, 3), np.uint8)
    tracemalloc.start()
    try:
        renderer.render(0, ids, out)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak >= 4 * side**2
    assert held < side**2
