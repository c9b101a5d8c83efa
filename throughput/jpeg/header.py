"""The frame header of a JPEG: its size and how it was coded, without decoding it."""

from __future__ import annotations

from typing import NamedTuple

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RSTn: markers without a segment
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; the rest are DHT, JPG and DAC


_END_OF_IMAGE = b"\xff\xd9"  # EOI (ITU-T T.81, B.1.1.3); coded data never holds these two bytes
_TAIL_BYTES = 64
"""Some cameras pad their files; what has more behind its end is looked at closely."""


class Frame(NamedTuple):
    """Size in pixels, number of colour components, bits per sample, and n of the SOFn marker."""

    height: int
    width: int
    components: int
    precision: int
    process: int


def has_end(data: bytes | memoryview) -> bool:
    """Whether the end of the image stands at the end of the file, or close to it."""
    return _END_OF_IMAGE in bytes(data[-_TAIL_BYTES:])


def read_frame(data: bytes | memoryview) -> Frame | None:
    """The frame header (ITU-T T.81, B.2.2); None where the bytes are no JPEG or hold no sound header."""
    if data[:2] != b"\xff\xd8":
        return None
    place, end = 2, len(data)
    while place + 4 <= end:
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte (B.1.1.2)
            place += 1
            continue
        if marker in _STANDALONE:
            place += 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _FRAMES:
            segment = data[place + 4 : place + 2 + length]
            if len(segment) < 6:
                return None
            height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
            if height == 0 or width == 0:  # a height of 0 is given later, by a DNL segment: rare
                return None
            return Frame(height, width, segment[5], segment[0], marker - 0xC0)
        if marker == 0xDA or length < 2:
            return None
        place += 2 + length
    return None
