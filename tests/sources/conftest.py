"""Small images, class folders and shards made for each test."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from PIL import Image

MakeImage = Callable[..., bytes]
MakeFolders = Callable[..., Path]
WriteTar = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, away from the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("THROUGHPUT_CACHE", str(folder))
    return folder


@pytest.fixture
def image() -> MakeImage:
    """Encode an 8 x 8 image whose bytes differ for each number."""

    def make(number: int, kind: str = "JPEG") -> bytes:
        data = io.BytesIO()
        picture = Image.new("RGB", (8, 8), (number % 256, number // 256, 99))
        picture.putpixel((number % 8, number // 8 % 8), (255, 0, 0))
        picture.save(data, kind)
        return data.getvalue()

    return make


@pytest.fixture
def class_folders(image: MakeImage) -> MakeFolders:
    """Write class folders with as many images as the mapping says."""

    def make(root: Path, counts: Mapping[str, int]) -> Path:
        number = 0
        for name, count in counts.items():
            (root / name).mkdir(parents=True)
            for _ in range(count):
                (root / name / f"{number:04d}.jpg").write_bytes(image(number))
                number += 1
        return root

    return make


@pytest.fixture
def write_tar() -> WriteTar:
    """Write a tar with the standard library: an oracle for the reader."""

    def write(
        path: Path, members: Iterable[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=tar_format) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def samples(image: MakeImage) -> Callable[..., list[tuple[str, bytes]]]:
    """Members of a shard with ``count`` samples whose labels go round 0, 1, 2."""

    def make(count: int, first: int = 0) -> list[tuple[str, bytes]]:
        return [
            member
            for number in range(first, first + count)
            for member in (
                (f"{number:06d}.jpg", image(number)),
                (f"{number:06d}.cls", str(number % 3).encode()),
            )
        ]

    return make
