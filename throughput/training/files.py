"""Images that are named one by one, as a source without labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Source, Split
from throughput.errors import SampleError


@dataclass(frozen=True, eq=False)
class NamedFiles(Source):
    """paths: of images; all of them are held out."""

    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    location: str = "the images that were named"
    fingerprint: str = ""
    labels: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.zeros(len(self.paths), np.int64))

    def ids(self, split: Split) -> NDArray[np.int64]:
        """All of them in val."""
        return np.arange(len(self.paths) if split == "val" else 0)

    def read(self, sample_id: int) -> bytes:
        """The file. Raises SampleError naming it."""
        path = self.paths[sample_id]
        try:
            return path.read_bytes()
        except OSError as error:
            raise SampleError(str(path), f"cannot be read: {error.strerror}") from error

    def describe(self, sample_id: int) -> str:
        """The file's path."""
        return str(self.paths[sample_id])

    def encoded_bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.paths)

    def files(self) -> tuple[Path, ...]:
        """The paths."""
        return self.paths
