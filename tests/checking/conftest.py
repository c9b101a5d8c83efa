"""Pictures, whole and damaged, and a check in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from throughput.checking.findings import Findings
from throughput.checking.kept import Kept
from throughput.checking.listing import list_pieces
from throughput.checking.run import check

Encode = Callable[..., bytes]
Check = Callable[..., Findings]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def picture() -> Image.Image:
    """160 x 120 pixels with detail, so that a JPEG of it has coded data worth damaging."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def encode(picture: Image.Image) -> Encode:
    """Encode the picture, or another; ``number`` makes its bytes differ."""

    def make(image: Image.Image | None = None, kind: str = "JPEG", number: int = 0, **options: Any) -> bytes:
        chosen = (image or picture).copy()
        if number:
            chosen.putpixel((0, 0), (number % 256, number // 256, 7))
        data = io.BytesIO()
        chosen.save(data, kind, **options)
        return data.getvalue()

    return make


@pytest.fixture
def folder(tmp_path: Path, encode: Encode) -> Path:
    """Twelve JPEGs in two class folders."""
    for number in range(12):
        path = tmp_path / "images" / f"class{number % 2}" / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(number=number + 1))
    return tmp_path / "images"


@pytest.fixture
def checked() -> Check:
    """Check what is named, in two workers."""

    def run(data: object, *, workers: int = 2, save_seconds: float | None = None, **options: Any) -> Findings:
        listing = list_pieces(str(data), **options)
        kept = None if save_seconds is None else Kept(listing, save_seconds)
        return check(listing, workers, kept=kept)

    return run
