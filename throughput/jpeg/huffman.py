"""Huffman tables: from a file's table to one that decodes fast, and from counts to the best table.

ITU-T T.81, annex C (code assignment), F.2.2.3 (decoding), K.2 and K.3 (making a table).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.jpeg.bits import LOOKAHEAD
from throughput.kernel import kernel

TABLES = 8
"""Four tables for DC, then four for AC: a table's place is 4 * class + destination."""


class HuffmanTable(NamedTuple):
    """A table as DHT holds it. counts: codes of each length 1..16. values: symbols by rising length."""

    counts: bytes
    values: bytes


class Decoders(NamedTuple):
    """All tables of a scan, made for decoding.

    short: (TABLES, 2**LOOKAHEAD) int32, symbol << 8 | length for each next bits; 0 where no code fits.
    maxcode: (TABLES, 18), offset: (TABLES, 17), values: (TABLES, 256), int32 each, for longer codes.
    """

    short: NDArray[np.int32]
    maxcode: NDArray[np.int32]
    offset: NDArray[np.int32]
    values: NDArray[np.int32]


def is_sound(table: HuffmanTable) -> bool:
    """Whether this is a prefix code for bytes that leaves the code of all ones unused (C.2).

    libjpeg refuses a file that uses any other (jdhuff.c, ``jpeg_make_d_derived_tbl``).
    """
    code = 0
    for length, count in enumerate(table.counts, start=1):
        code += count
        if code >= 1 << length:
            return False
        code <<= 1
    return sum(table.counts) == len(table.values) <= 256


def decoders(tables: dict[int, HuffmanTable]) -> Decoders:
    """Make the sound tables of a scan, by their place, ready for decoding."""
    made = Decoders(
        np.zeros((TABLES, 1 << LOOKAHEAD), np.int32),
        np.full((TABLES, 18), -1, np.int32),
        np.zeros((TABLES, 17), np.int32),
        np.zeros((TABLES, 256), np.int32),
    )
    for place, table in tables.items():
        counts, values = np.frombuffer(table.counts, np.uint8), np.frombuffer(table.values, np.uint8)
        _fill(counts, values, made.short[place], made.maxcode[place], made.offset[place], made.values[place])
    return made


@kernel
def _fill(counts, values, short, maxcode, offset, symbols):
    code = 0
    taken = 0
    for length in range(1, 17):
        offset[length] = taken - code
        for _ in range(counts[length - 1]):
            symbols[taken] = values[taken]
            if length <= LOOKAHEAD:
                first = code << (LOOKAHEAD - length)
                for entry in range(first, first + (1 << (LOOKAHEAD - length))):
                    short[entry] = (np.int64(values[taken]) << 8) | length
            code += 1
            taken += 1
        if counts[length - 1]:
            maxcode[length] = code - 1
        code <<= 1


@kernel
def best_table(frequencies, counts, values):
    """Write the table that codes symbols of these ``frequencies`` (256,) in the fewest bits.

    ``counts`` (16,) and ``values`` (256,) uint8 are written; returns the number of values. Huffman's
    algorithm over two sorted queues (van Leeuwen 1976), then K.3's limit of 16 bits; one code, all ones,
    stays unused, as T.81 demands.
    """
    order = np.empty(257, np.int64)
    used = 0
    for symbol in range(256):
        if frequencies[symbol] > 0:
            # By falling frequency, then rising symbol.
            place = used
            while place > 0 and frequencies[order[place - 1]] < frequencies[symbol]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = symbol
            used += 1
    counts[:] = 0
    if used == 0:
        return 0
    # Leaves by rising weight; the first is the code that stays unused, lighter than any symbol.
    leaves = used + 1
    weight = np.zeros(2 * leaves, np.int64)
    parent = np.zeros(2 * leaves, np.int64)
    for rank in range(used):
        weight[leaves - 1 - rank] = frequencies[order[rank]]
    leaf, joined, made = 0, leaves, leaves
    while made < 2 * leaves - 1:
        for _ in range(2):
            if leaf < leaves and (joined >= made or weight[leaf] <= weight[joined]):
                taken = leaf
                leaf += 1
            else:
                taken = joined
                joined += 1
            weight[made] += weight[taken]
            parent[taken] = made
        made += 1
    depth = np.zeros(2 * leaves, np.int64)
    lengths = np.zeros(2 * leaves + 16, np.int64)
    for node in range(2 * leaves - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
        if node < leaves:
            lengths[depth[node]] += 1
    # K.3, "Adjust_BITS": a pair of too long codes gives its prefix to one of them, and a shorter code
    # becomes the prefix of the other and itself.
    longest = len(lengths) - 1
    while longest > 16:
        if lengths[longest] == 0:
            longest -= 1
            continue
        shorter = longest - 2
        while lengths[shorter] == 0:
            shorter -= 1
        lengths[longest] -= 2
        lengths[longest - 1] += 1
        lengths[shorter + 1] += 2
        lengths[shorter] -= 1
    while lengths[longest] == 0:
        longest -= 1
    lengths[longest] -= 1  # the code of all ones
    for length in range(1, 17):
        counts[length - 1] = lengths[length]
    for rank in range(used):
        values[rank] = order[rank]
    return used


@kernel
def assign_codes(counts, values, codes):
    """Write each symbol's code << 5 | length to ``codes`` (256,) int64 (T.81, C.2)."""
    code = 0
    taken = 0
    for length in range(1, 17):
        for _ in range(counts[length - 1]):
            codes[values[taken]] = (code << 5) | length
            code += 1
            taken += 1
        code <<= 1
