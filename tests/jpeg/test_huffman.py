"""Huffman tables against an independent construction: the fewest bits, and codes as T.81 allows them."""

from __future__ import annotations

import heapq
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from throughput.jpeg.huffman import HuffmanTable, assign_codes, best_table, is_sound


def table_of(frequencies: NDArray[np.int64]) -> HuffmanTable:
    counts, values = np.zeros(16, np.uint8), np.zeros(256, np.uint8)
    used = best_table(frequencies, counts, values)
    return HuffmanTable(counts.tobytes(), values[:used].tobytes())


def lengths_of(table: HuffmanTable) -> dict[int, int]:
    """The length of each symbol's code."""
    lengths = [length for length, count in enumerate(table.counts, start=1) for _ in range(count)]
    return dict(zip(table.values, lengths, strict=True))


def optimal_lengths(frequencies: NDArray[np.int64]) -> dict[int, int]:
    """Huffman's algorithm with a heap; symbol 256, which never occurs, is the code that stays unused."""
    weights = {symbol: int(count) for symbol, count in enumerate(frequencies) if count} | {256: 0}
    lengths = dict.fromkeys(weights, 0)
    heap = [(weight, symbol, [symbol]) for symbol, weight in weights.items()]
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in first[2] + second[2]:
            lengths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), first[2] + second[2]))
    return lengths


def bits(frequencies: NDArray[np.int64], lengths: dict[int, int]) -> int:
    return sum(int(count) * lengths[symbol] for symbol, count in enumerate(frequencies) if count)


def assert_sound(table: HuffmanTable, frequencies: NDArray[np.int64]) -> None:
    """A prefix code of exactly the symbols that occur, with one code, all ones, left over."""
    lengths = lengths_of(table)
    assert set(lengths) == set(np.flatnonzero(frequencies).tolist())
    assert len(table.values) == len(lengths)
    assert is_sound(table)
    assert sum((Fraction(1, 2**length) for length in lengths.values()), Fraction()) < 1
    codes = np.zeros(256, np.int64)
    assign_codes(np.frombuffer(table.counts, np.uint8), np.frombuffer(table.values, np.uint8), codes)
    texts = {symbol: f"{codes[symbol] >> 5:0{codes[symbol] & 31}b}" for symbol in lengths}
    for symbol, text in texts.items():
        assert len(text) == lengths[symbol]
        assert "0" in text
        assert not any(other != symbol and code.startswith(text) for other, code in texts.items())


def fibonacci(count: int) -> NDArray[np.int64]:
    """Frequencies whose best code is as deep as can be: one bit more for each symbol."""
    frequencies = np.zeros(256, np.int64)
    before, now = 1, 1
    for symbol in range(count):
        frequencies[symbol] = before
        before, now = now, before + now
    return frequencies


def spread(seed: int) -> NDArray[np.int64]:
    """Counts of all sizes for a random selection of symbols, some of them equal."""
    random = np.random.default_rng(seed)
    counts = (10 ** random.uniform(0, 2, 256)).astype(np.int64)
    return counts * (random.random(256) < random.uniform(0.01, 1))


@pytest.mark.parametrize("seed", range(60))
def test_the_total_is_the_least_possible(seed: int) -> None:
    frequencies = spread(seed)
    table, best = table_of(frequencies), optimal_lengths(frequencies)
    assert max(best.values()) <= 16
    assert_sound(table, frequencies)
    assert bits(frequencies, lengths_of(table)) == bits(frequencies, best)


@pytest.mark.parametrize("count", [1, 2, 3, 15, 16])
def test_codes_of_up_to_sixteen_bits_are_not_shortened(count: int) -> None:
    frequencies = fibonacci(count)
    table, best = table_of(frequencies), optimal_lengths(frequencies)
    assert max(best.values()) == count
    assert_sound(table, frequencies)
    assert bits(frequencies, lengths_of(table)) == bits(frequencies, best)


@pytest.mark.parametrize("count", [17, 18, 20, 25, 31, 32, 33, 45, 60, 80])
def test_longer_codes_are_cut_to_sixteen_bits(count: int) -> None:
    frequencies = fibonacci(count)
    table, best = table_of(frequencies), optimal_lengths(frequencies)
    assert max(best.values()) > 16
    assert_sound(table, frequencies)
    lengths = lengths_of(table)
    assert max(lengths.values()) == 16
    assert bits(frequencies, best) < bits(frequencies, lengths) < 1.02 * bits(frequencies, best)


def test_frequent_symbols_have_no_longer_codes_than_rare_ones() -> None:
    frequencies = spread(7) + fibonacci(40)
    lengths = lengths_of(table_of(frequencies))
    order = sorted(lengths, key=lambda symbol: -frequencies[symbol])
    assert [lengths[symbol] for symbol in order] == sorted(lengths.values())


def test_all_symbols_equally_often() -> None:
    frequencies = np.full(256, 5, np.int64)
    table = table_of(frequencies)
    assert_sound(table, frequencies)
    assert sorted(lengths_of(table).values()) == [8] * 255 + [9]


def test_no_symbols_at_all() -> None:
    assert table_of(np.zeros(256, np.int64)) == HuffmanTable(bytes(16), b"")


@pytest.mark.parametrize(
    ("counts", "values"),
    [
        ([3], 3),
        ([1, 3], 4),
        ([2, 1], 3),
        ([0, 4, 1], 5),
        ([0] * 15 + [255], 254),
        ([0] * 8 + [255, 255], 510),
        ([2], 2),
        ([1, 2], 3),
        ([1] * 15 + [2], 17),
    ],
    ids=[
        "three of one bit", "too many of two bits", "beyond a full code", "beyond all of two bits",
        "a value missing", "too many", "1", "11", "sixteen ones",
    ],
)  # fmt: skip
def test_what_is_no_prefix_code_or_has_a_code_of_all_ones_is_not_sound(
    counts: list[int], values: int
) -> None:
    assert not is_sound(HuffmanTable(bytes(counts) + bytes(16 - len(counts)), bytes(values)))


@pytest.mark.parametrize(
    ("counts", "values"), [([], 0), ([1], 1), ([1, 1], 2), ([0, 3, 1], 4), ([1] * 16, 16)], ids=str
)
def test_codes_that_leave_only_all_ones_are_sound(counts: list[int], values: int) -> None:
    assert is_sound(HuffmanTable(bytes(counts) + bytes(16 - len(counts)), bytes(values)))
