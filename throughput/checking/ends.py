"""Where an encoded image ends, by its own markers: what decoders do not look at, or pass over in silence.

Formats: JPEG ITU-T T.81 (B.1.1), PNG ISO/IEC 15948 (5.3), WebP RFC 9649 (2.4).
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

TRUNCATED = "truncated"
DAMAGED = "damaged"

_CODED = frozenset({0x00, 0xFF, *range(0xD0, 0xD8)})
"""What follows 0xFF in coded data, fill bytes and restart markers among it; else a segment begins."""
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment: TEM, RSTn, SOI."""
_FIRST_SEGMENT, _RESERVED = 0xC0, range(0xF0, 0xFE)
"""No encoder writes markers outside of these: they are damage."""
_END = 0xD9
_PNG_SIGNATURE_BYTES = 8
_FEW_ZEROS = 64


class Wrong(NamedTuple):
    """A fault of an encoded image. fault: its kind. cause: in a sentence."""

    fault: str
    cause: str


class Ending(NamedTuple):
    """wrong: why the image is not whole; None: it is. trailing_bytes: behind its end."""

    wrong: Wrong | None
    trailing_bytes: int = 0


def jpeg_ending(data: bytes) -> Ending:
    """Walk the segments of a JPEG to its end marker (EOI)."""
    place = 2
    while True:
        place = _next_marker(data, place)
        if place < 0:
            zeros = len(data) - len(data.rstrip(b"\0"))
            tail = f", in {zeros} zeros" if zeros > _FEW_ZEROS else ""
            return _cut(f"it ends without its end marker (EOI){tail}")
        begin, marker = place - 1, data[place]
        place += 1
        if marker == _END:
            return Ending(None, len(data) - place)
        if marker in _ALONE:
            continue
        if marker < _FIRST_SEGMENT or marker in _RESERVED:
            cause = f"its coded data is broken at byte {begin} (marker 0x{marker:02x})"
            return Ending(Wrong(DAMAGED, cause))
        length = int.from_bytes(data[place : place + 2], "big")
        if length < 2 or place + length > len(data):
            return _cut(f"it ends inside the segment at byte {begin} (marker 0x{marker:02x})")
        place += length


def _next_marker(data: bytes, place: int) -> int:
    """Where the second byte of the next marker lies that ends coded data; -1 where none follows."""
    while (place := data.find(b"\xff", place) + 1) > 0:
        if place < len(data) and data[place] not in _CODED:
            return place
    return -1


def png_ending(data: bytes) -> Ending:
    """Walk the chunks of a PNG to IEND, and compare each with its CRC-32."""
    place = _PNG_SIGNATURE_BYTES
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        name = kind.decode("ascii", "backslashreplace")
        end = place + 12 + length
        if end > len(data):
            return _cut(f"it ends inside the chunk {name} at byte {place}, which has {length} bytes")
        if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return Ending(
                Wrong(DAMAGED, f"the chunk {name} at byte {place} is not what was written (CRC-32)")
            )
        if kind == b"IEND":
            return Ending(None, len(data) - end)
        place = end
    return _cut("it ends without its last chunk (IEND)")


def webp_ending(data: bytes) -> Ending:
    """Compare a WebP's length with what its first bytes say."""
    said = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < said:
        return _cut(f"it has {len(data)} of the {said} bytes that its header names")
    return Ending(None, len(data) - said - (said & 1 and len(data) > said))


def _cut(cause: str) -> Ending:
    return Ending(Wrong(TRUNCATED, cause))
