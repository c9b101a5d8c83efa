"""The entropy-coded data of a JPEG as tokens: what is coded, freed of how many bits code it.

For each block, in the order of the MCUs, its DC value (not the difference) among the ``means``, and a token
for each AC symbol, ``symbol | bits << 8``, up to the end of the block (symbol 0) or its 64th coefficient.
Writing them with other tables and other restart intervals is then lossless by construction.
"""

from __future__ import annotations

import numpy as np

from throughput.jpeg.bits import LOOKAHEAD, long_code, refill
from throughput.kernel import kernel

SOUND, DAMAGED = 0, -1
MOST_DC_BITS, MOST_AC_BITS = 11, 10
"""The widest differences and coefficients in the baseline process (T.81, F.1.2.1 and F.1.2.2)."""


@kernel
def bit_length(value):
    """Bits of the magnitude of ``value``: the category of T.81, table F.1."""
    magnitude = abs(value)
    length = 0
    while magnitude:
        magnitude >>= 1
        length += 1
    return length


@kernel
def take_restart(data, place, number):
    """The place behind the restart marker of this number at ``place``; DAMAGED where there is none."""
    after = place
    while after + 1 < len(data) and data[after] == 0xFF and data[after + 1] == 0xFF:  # fill bytes
        after += 1
    if after + 1 < len(data) and data[after] == 0xFF and data[after + 1] == 0xD0 + (number & 7):
        return after + 2
    return DAMAGED


@kernel
def read_tokens(data, place, mcus, interval, kinds, decoders, means, tokens, ac_counts):
    """Read a sequential scan of all components: (SOUND or DAMAGED, place behind it, tokens written).

    ``data`` (M,) uint8; ``interval``: MCUs between restarts, 0 for none; ``kinds`` (B, 3): for each block
    of an MCU its component, DC table and AC table. ``means`` (blocks,) int32 and ``tokens`` int32 are
    written; AC symbols are counted into ``ac_counts`` (2, 256), by the component's kind (first, others).
    """
    short, maxcode, offset, values = decoders
    held, count, missing = 0, 0, 0
    predicted = np.zeros(4, np.int64)
    written, blocks = 0, 0
    to_restart, restarts = interval, 0
    for _ in range(mcus):
        if interval and to_restart == 0:
            if count - missing > 7 or count < missing:
                return DAMAGED, place, written
            after = take_restart(data, place, restarts)
            if after < 0:
                return DAMAGED, place, written
            place = after
            held, count, missing = 0, 0, 0
            predicted[:] = 0
            to_restart = interval
            restarts += 1
        to_restart -= 1
        for block in range(len(kinds)):
            component, dc, ac = kinds[block, 0], kinds[block, 1], kinds[block, 2]
            kind = 1 if component else 0
            if count < 32:
                place, held, count, missing = refill(data, place, held, count, missing)
            entry = short[dc, (held >> (count - LOOKAHEAD)) & ((1 << LOOKAHEAD) - 1)]
            length, size = entry & 0xFF, entry >> 8
            if length == 0:
                length, size = long_code(held, count, maxcode[dc], offset[dc], values[dc])
                if length == 0:
                    return DAMAGED, place, written
            count -= length
            if size > MOST_DC_BITS:
                return DAMAGED, place, written
            if size:
                count -= size
                bits = (held >> count) & ((1 << size) - 1)
                if bits < 1 << (size - 1):
                    bits -= (1 << size) - 1
                predicted[component] += bits
            means[blocks] = predicted[component]
            blocks += 1
            position = 1
            while position < 64:
                if count < 32:
                    place, held, count, missing = refill(data, place, held, count, missing)
                entry = short[ac, (held >> (count - LOOKAHEAD)) & ((1 << LOOKAHEAD) - 1)]
                length, symbol = entry & 0xFF, entry >> 8
                if length == 0:
                    length, symbol = long_code(held, count, maxcode[ac], offset[ac], values[ac])
                    if length == 0:
                        return DAMAGED, place, written
                count -= length
                size = symbol & 15
                ac_counts[kind, symbol] += 1
                if size == 0:
                    tokens[written] = symbol
                    written += 1
                    if symbol == 0:
                        break
                    position += 16
                    if symbol != 0xF0 or position > 63:
                        return DAMAGED, place, written
                    continue
                position += (symbol >> 4) + 1
                if position > 64 or size > MOST_AC_BITS:
                    return DAMAGED, place, written
                count -= size
                tokens[written] = symbol | (((held >> count) & ((1 << size) - 1)) << 8)
                written += 1
            if count < missing:
                return DAMAGED, place, written
    if count - missing > 7:
        return DAMAGED, place, written
    return SOUND, place, written


@kernel
def tokens_of_coefficients(coefficients, order, kinds, means, tokens, ac_counts):
    """Tokens of decoded blocks: (SOUND or DAMAGED, tokens written), as ``read_tokens`` writes them.

    ``coefficients`` (blocks, 64) int16, zigzag; ``order``: block numbers in the order of the MCUs.
    DAMAGED where a value is too large for the baseline process.
    """
    written = 0
    for index in range(len(order)):
        kind = 1 if kinds[index % len(kinds), 0] else 0
        block = coefficients[order[index]]
        means[index] = block[0]
        run = 0
        for position in range(1, 64):
            value = np.int64(block[position])
            if value == 0:
                run += 1
                continue
            while run > 15:
                ac_counts[kind, 0xF0] += 1
                tokens[written] = 0xF0
                written += 1
                run -= 16
            size = bit_length(value)
            if size > MOST_AC_BITS:
                return DAMAGED, written
            symbol = (run << 4) | size
            ac_counts[kind, symbol] += 1
            bits = value if value > 0 else value + (1 << size) - 1
            tokens[written] = symbol | (bits << 8)
            written += 1
            run = 0
        if run:
            ac_counts[kind, 0] += 1
            tokens[written] = 0
            written += 1
    return SOUND, written


@kernel
def count_differences(means, kinds, interval, dc_counts):
    """Count the DC symbols of ``means`` with ``interval`` MCUs between restarts: SOUND or DAMAGED.

    DAMAGED where a difference is too large for the baseline process.
    """
    predicted = np.zeros(4, np.int64)
    to_restart = interval
    for first in range(0, len(means), len(kinds)):
        if to_restart == 0:
            predicted[:] = 0
            to_restart = interval
        to_restart -= 1
        for block in range(len(kinds)):
            component = kinds[block, 0]
            value = np.int64(means[first + block])
            size = bit_length(value - predicted[component])
            if size > MOST_DC_BITS:
                return DAMAGED
            predicted[component] = value
            dc_counts[1 if component else 0, size] += 1
    return SOUND


@kernel
def write_tokens(means, tokens, mcus, interval, kinds, dc_codes, ac_codes, out, interval_bytes):
    """Code blocks with a restart marker after each ``interval`` MCUs but the last: bytes written to ``out``.

    ``dc_codes``, ``ac_codes`` (2, 256) as ``assign_codes`` made them. ``interval_bytes`` (intervals,) uint32:
    written, each interval's bytes without the marker behind it.
    """
    held, count, end = 0, 0, 0
    predicted = np.zeros(4, np.int64)
    read, blocks = 0, 0
    to_restart, done, begin = interval, 0, 0
    for _ in range(mcus):
        if to_restart == 0:
            end = _flush(out, end, held, count)
            interval_bytes[done] = end - begin
            out[end] = 0xFF
            out[end + 1] = 0xD0 + (done & 7)
            end += 2
            begin = end
            done += 1
            held, count = 0, 0
            predicted[:] = 0
            to_restart = interval
        to_restart -= 1
        for block in range(len(kinds)):
            component = kinds[block, 0]
            kind = 1 if component else 0
            value = np.int64(means[blocks])
            blocks += 1
            difference = value - predicted[component]
            predicted[component] = value
            size = bit_length(difference)
            if difference < 0:
                difference += (1 << size) - 1
            code = dc_codes[kind, size]
            length = (code & 31) + size
            held = (held << length) | ((code >> 5) << size) | difference
            count += length
            if count >= 32:
                end, count = _put(out, end, held, count)
            position = 1
            while position < 64:
                token = np.int64(tokens[read])
                read += 1
                symbol = token & 0xFF
                size = symbol & 15
                code = ac_codes[kind, symbol]
                length = (code & 31) + size
                held = (held << length) | ((code >> 5) << size) | (token >> 8)
                count += length
                if count >= 32:
                    end, count = _put(out, end, held, count)
                if symbol == 0:
                    break
                position += (symbol >> 4) + 1
    end = _flush(out, end, held, count)
    interval_bytes[done] = end - begin
    return end


@kernel
def _put(out, end, held, count):
    """Write the 32 oldest of the held bits: (the new end, bits that remain)."""
    count -= 32
    word = (held >> count) & 0xFFFFFFFF
    inverted = word ^ 0xFFFFFFFF
    if ((inverted - 0x01010101) & word & 0x80808080) == 0:
        out[end] = word >> 24
        out[end + 1] = (word >> 16) & 0xFF
        out[end + 2] = (word >> 8) & 0xFF
        out[end + 3] = word & 0xFF
        return end + 4, count
    for shift in (24, 16, 8, 0):
        byte = (word >> shift) & 0xFF
        out[end] = byte
        end += 1
        if byte == 0xFF:
            out[end] = 0  # a stuffed zero tells data from markers
            end += 1
    return end, count


@kernel
def _flush(out, end, held, count):
    """Write the bits that remain, filled up with ones: the new end."""
    filling = -count & 7
    held = (held << filling) | ((1 << filling) - 1)
    count += filling
    while count > 0:
        count -= 8
        byte = (held >> count) & 0xFF
        out[end] = byte
        end += 1
        if byte == 0xFF:
            out[end] = 0
            end += 1
    return end
