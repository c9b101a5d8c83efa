"""The checksum of an encoded image that packing keeps: CRC-32 (ITU-T V.42), some 3 us for a photo."""

from __future__ import annotations

from isal import isal_zlib

CHANGED = "its bytes are not those that were packed (CRC-32): pack the images again"
"""What is said of a sample whose checksum is another."""


def checksum(data: bytes | memoryview) -> int:
    """CRC-32 of some bytes. By Intel's ISA-L: zlib's own takes eight times as long."""
    return isal_zlib.crc32(data)
