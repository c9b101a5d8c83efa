"""Reading and writing the bits of entropy-coded data (ITU-T T.81, F.1.2.3, F.2.2.5 and B.1.1.5).

The state of a reader is four numbers that the kernels carry in local variables: ``held``, whose lowest
``count`` bits are to be read next, ``place``, the next byte, and ``missing``, how many of the held bits
lie beyond the end of the data and are not really there.
"""

from __future__ import annotations

import numpy as np

from throughput.kernel import kernel

LOOKAHEAD = 10
"""Bits of a code that one look into a table decodes; longer codes take a search."""


@kernel
def refill(data, place, held, count, missing):
    """Hold 32 bits more: (place, held, count, missing). Beyond a marker or the end, zeros."""
    if place + 4 <= len(data):
        word = (
            (np.int64(data[place]) << 24)
            | (np.int64(data[place + 1]) << 16)
            | (np.int64(data[place + 2]) << 8)
            | np.int64(data[place + 3])
        )
        # Whether a byte is 0xFF: a zero byte in the complement (Warren, "Hacker's Delight", 6-1).
        inverted = word ^ 0xFFFFFFFF
        if ((inverted - 0x01010101) & word & 0x80808080) == 0:
            return place + 4, (held << 32) | word, count + 32, missing
    added = 0
    while added < 32:
        if place >= len(data):
            break
        byte = np.int64(data[place])
        if byte == 0xFF:
            # Only a zero tells data from markers. Fill bytes before a zero are none of both, and decoders
            # disagree about them: to libjpeg-turbo they are data only where it reads byte by byte.
            if place + 1 >= len(data) or data[place + 1] != 0:
                break
            place += 1
        place += 1
        held = (held << 8) | byte
        added += 8
    if added < 32:
        held <<= 32 - added
        missing += 32 - added
    return place, held, count + 32, missing


@kernel
def long_code(held, count, maxcode, offset, values):
    """A code of more than LOOKAHEAD bits: (its length, its symbol); (0, 0) where there is no such code.

    ``maxcode`` (18,), ``offset`` (17,), ``values`` (256,) as ``decoder_tables`` made them (T.81, F.2.2.3).
    """
    for length in range(LOOKAHEAD + 1, 17):
        code = (held >> (count - length)) & ((1 << length) - 1)
        if code <= maxcode[length]:
            return length, np.int64(values[offset[length] + code])
    return 0, 0
