"""uint8 to normalised float in one pass over the memory, by one thread, without the GIL.

Two operations of torch would write and read float32 batches twice, and share them out among threads that a
loader needs. On cores that a loader keeps busy, an operation that is shared out ends when the last of its
threads has had its turn.
"""

from __future__ import annotations

import numpy as np

from throughput.kernel import kernel


@kernel
def normalise_rows(rows, scale, shift, out):
    """Write ``rows * scale + shift``: rows (R, W) uint8; scale, shift (W,), out (R, W) float32."""
    for row in range(rows.shape[0]):
        for place in range(rows.shape[1]):
            out[row, place] = np.float32(rows[row, place]) * scale[place] + shift[place]


@kernel
def normalise_rows_bfloat16(rows, scale, shift, out):
    """The same to bfloat16, whose bits are written as uint16: rounded to the nearest, halves to even.

    bfloat16 is the upper half of a float32; what is added before cutting off the lower one rounds.
    """
    line = np.empty(rows.shape[1], np.float32)
    bits = line.view(np.uint32)
    for row in range(rows.shape[0]):
        for place in range(rows.shape[1]):
            line[place] = np.float32(rows[row, place]) * scale[place] + shift[place]
        for place in range(rows.shape[1]):
            odd = (bits[place] >> np.uint32(16)) & np.uint32(1)
            out[row, place] = (bits[place] + np.uint32(0x7FFF) + odd) >> np.uint32(16)
