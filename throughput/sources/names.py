"""Many names in little memory, and which names are images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "ppm", "pgm")
"""Without the dot, in order of preference where a sample has several."""
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF")
"""What is looked for in an image, in Pillow's words, whatever its name says. Pillow knows many more, and
would hand PostScript, which is a program, to Ghostscript to be run."""


@dataclass(frozen=True, eq=False)
class Names:
    """N names in one block of bytes: a forked process does not copy its pages by counting references.

    blob: all names joined, as bytes of the file system.
    ends: (N + 1,) int64; name i is ``blob[ends[i]:ends[i + 1]]``.
    """

    blob: bytes
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """Gather names; bytes that are no UTF-8 survive as they do in ``os.fsdecode``."""
        encoded = [os.fsencode(name) for name in names]
        ends = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(name) for name in encoded], out=ends[1:])
        return cls(b"".join(encoded), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self.blob[self.ends[index] : self.ends[index + 1]])


def extension(name: str) -> str:
    """What follows the last dot of a file's name, in lower case; empty for a name without one."""
    stem, _, last = name.rpartition(".")
    return last.lower() if stem else ""


def image_extension(data: bytes) -> str:
    """The usual extension of encoded image bytes, by their first bytes; ``jpg`` for what no type claims.

    Signatures: JPEG ITU-T T.81 (SOI and a marker), PNG ISO/IEC 15948 5.2, WebP RFC 9649, BMP "BM", Netpbm's
    pgm(5) "P5" and ppm(5) "P6".
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM"):
        return "bmp"
    if data.startswith((b"P5", b"P6")):
        return "pgm" if data[1:2] == b"5" else "ppm"
    return "jpg"


def found_extensions(names: Iterable[str]) -> str:
    """The extensions among names, for a message: ``.gif, .txt``; ``none`` where no name has one."""
    return ", ".join(sorted({f".{extension(name)}" for name in names if extension(name)})) or "none"
