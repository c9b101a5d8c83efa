"""Scans of progressive JPEGs, and of sequential ones in several scans, decoded to quantised coefficients.

ITU-T T.81, annexes F.2 (sequential) and G.2 (progressive). Coefficients stay in zigzag order, in which
they are written again.
"""

from __future__ import annotations

import numpy as np

from throughput.jpeg.bits import LOOKAHEAD, long_code, refill
from throughput.jpeg.tokens import DAMAGED, SOUND, take_restart
from throughput.kernel import kernel

PLACE, HELD, COUNT, MISSING, END_RUN = range(5)
"""What a reader's state (5,) int64 holds, beside the bits: blocks of an end-of-band run still to come."""


@kernel
def read_scan(data, place, order, kinds, interval, band, shifts, decoders, coefficients):
    """Read one scan into ``coefficients`` (blocks, 64) int16: (SOUND or DAMAGED, place behind the scan).

    ``order`` (N,): numbers of the blocks that the scan codes, ``len(kinds)`` to an MCU. ``kinds`` (B, 3):
    component, DC table, AC table. ``band``: first and last coefficient. ``shifts``: the successive
    approximation's bit positions, high (0 in a first scan) and low. A sequential scan is band (0, 63)
    with shifts (0, 0) and codes DC and AC together.
    """
    state = np.zeros(5, np.int64)
    state[PLACE] = place
    predicted = np.zeros(4, np.int64)
    blocks = len(kinds)
    first, last = band
    high, low = shifts
    mcus, restarts = 0, 0
    for index in range(len(order)):
        if index % blocks == 0:
            if interval and mcus and mcus % interval == 0:
                if not _is_read_out(state):
                    return DAMAGED, state[PLACE]
                after = take_restart(data, state[PLACE], restarts)
                if after < 0:
                    return DAMAGED, state[PLACE]
                state[:] = 0
                state[PLACE] = after
                predicted[:] = 0
                restarts += 1
            mcus += 1
        component, dc, ac = kinds[index % blocks]
        block = coefficients[order[index]]
        sound = True
        if first == 0:
            if high == 0:
                sound = _dc_first(data, state, decoders, dc, predicted, component, low, block)
            elif _bits(data, state, 1):
                block[0] |= 1 << low
        if sound and last > 0:
            if first == 0:
                sound = _ac_sequential(data, state, decoders, ac, block)
            elif high == 0:
                sound = _ac_first(data, state, decoders, ac, first, last, low, block)
            else:
                sound = _ac_refine(data, state, decoders, ac, first, last, low, block)
        if not sound or state[COUNT] < state[MISSING]:
            return DAMAGED, state[PLACE]
    if not _is_read_out(state):
        return DAMAGED, state[PLACE]
    return SOUND, state[PLACE]


@kernel
def _is_read_out(state):
    """Whether nothing but the filling of the last byte is left before the marker."""
    return 0 <= state[COUNT] - state[MISSING] <= 7


@kernel
def _bits(data, state, wanted):
    """The next ``wanted`` bits (RECEIVE of T.81, F.2.2.4)."""
    if state[COUNT] < 32:
        place, held, count, missing = refill(data, state[PLACE], state[HELD], state[COUNT], state[MISSING])
        state[PLACE], state[HELD], state[COUNT], state[MISSING] = place, held, count, missing
    state[COUNT] -= wanted
    return (state[HELD] >> state[COUNT]) & ((1 << wanted) - 1)


@kernel
def _symbol(data, state, decoders, table):
    """The next Huffman-coded symbol, -1 where no code fits (DECODE of T.81, F.2.2.3)."""
    short, maxcode, offset, values = decoders
    _bits(data, state, 0)
    held, count = state[HELD], state[COUNT]
    entry = np.int64(short[table, (held >> (count - LOOKAHEAD)) & ((1 << LOOKAHEAD) - 1)])
    if entry:
        state[COUNT] -= entry & 0xFF
        return entry >> 8
    length, symbol = long_code(held, count, maxcode[table], offset[table], values[table])
    if length == 0:
        return np.int64(-1)
    state[COUNT] -= length
    return np.int64(symbol)


@kernel
def _value(data, state, size):
    """A signed value of ``size`` bits (EXTEND of T.81, F.2.2.1)."""
    bits = _bits(data, state, size)
    return bits if bits >= 1 << (size - 1) else bits - (1 << size) + 1


@kernel
def _dc_first(data, state, decoders, table, predicted, component, low, block):
    size = _symbol(data, state, decoders, table)
    if size < 0 or size > 15:
        return False
    if size:
        predicted[component] += _value(data, state, size)
    value = predicted[component] << low
    if value < -32768 or value > 32767:
        return False
    block[0] = value
    return True


@kernel
def _ac_sequential(data, state, decoders, table, block):
    """A block's AC coefficients in the sequential process: no runs of ended blocks, no zeros beyond it."""
    position = 1
    while position < 64:
        symbol = _symbol(data, state, decoders, table)
        if symbol == 0:
            return True
        if symbol < 0:
            return False
        run, size = symbol >> 4, symbol & 15
        position += run
        if position > 63 or (size == 0 and (run < 15 or position == 63)):
            return False
        if size:
            block[position] = _value(data, state, size)
        position += 1
    return True


@kernel
def _ac_first(data, state, decoders, table, first, last, low, block):
    if state[END_RUN] > 0:
        state[END_RUN] -= 1
        return True
    position = first
    while position <= last:
        symbol = _symbol(data, state, decoders, table)
        if symbol < 0:
            return False
        run, size = symbol >> 4, symbol & 15
        if size == 0:
            if run < 15:
                state[END_RUN] = (1 << run) - 1
                if run:
                    state[END_RUN] += _bits(data, state, run)
                return True
            position += 16
            continue
        position += run
        if position > last:
            return False
        value = _value(data, state, size) << low
        if value < -32768 or value > 32767:
            return False
        block[position] = value
        position += 1
    return True


@kernel
def _ac_refine(data, state, decoders, table, first, last, low, block):
    one = 1 << low
    position = first
    if state[END_RUN] == 0:
        while position <= last:
            symbol = _symbol(data, state, decoders, table)
            if symbol < 0 or symbol & 15 > 1:
                return False
            run, new = symbol >> 4, 0
            if symbol & 15:
                new = one if _bits(data, state, 1) else -one
            elif run < 15:
                state[END_RUN] = 1 << run
                if run:
                    state[END_RUN] += _bits(data, state, run)
                break
            # Pass over ``run`` coefficients that are still zero, refining the others on the way.
            while position <= last:
                if block[position] != 0:
                    _refine(data, state, one, block, position)
                else:
                    if run == 0:
                        break
                    run -= 1
                position += 1
            if new:
                if position > last:
                    return False
                block[position] = new
            position += 1
    if state[END_RUN] > 0:
        while position <= last:
            if block[position] != 0:
                _refine(data, state, one, block, position)
            position += 1
        state[END_RUN] -= 1
    return True


@kernel
def _refine(data, state, one, block, position):
    """One more bit of a coefficient that is not zero (T.81, G.1.2.3)."""
    if _bits(data, state, 1) and (block[position] & one) == 0:
        block[position] += one if block[position] > 0 else -one
