"""Lossless transcoding: the same quantised coefficients, coded so that regions of them can be found.

Restart markers (ITU-T T.81, B.1.1.3 and E.1.4) make the entropy coder start afresh, on a whole byte. With
one after each few MCUs of a row, a region can be cut out of the file without decoding what is around it.
Huffman tables made for the image (K.2) pay for the markers.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.jpeg.errors import Unfit, Untouched
from throughput.jpeg.huffman import HuffmanTable, assign_codes, best_table, decoders
from throughput.jpeg.layout import INTERVAL_PIXELS, Layout, interleaved_order, layout_of, restart_intervals
from throughput.jpeg.parse import DHT, DRI, EOI, SOI, SOS, Headers, Scan, ScanComponent, begin, read_on
from throughput.jpeg.scans import coefficients_of_scans, kinds_of_scan
from throughput.jpeg.tokens import (
    SOUND,
    count_differences,
    read_tokens,
    tokens_of_coefficients,
    write_tokens,
)

Kind = Literal["baseline", "progressive"] | Untouched
"""What a file was; the first two have restart intervals now, the others are as they were."""

_MOST_BLOCKS_A_BYTE = 16
"""Every block takes a bit at least; some only fill up the last MCU. What promises more is not allocated."""
_BASELINE, _EXTENDED = 0xC0, 0xC1
_MOST_PADDING_BYTES = 64
"""What may lie behind the end of the image, beside zeros, and be left out: more is an image or a film."""


class Transcoded(NamedTuple):
    """A file with restart intervals, or the file as it was.

    kind: what it was. reason: why it was left as it is; empty where it was not.
    scan_offset: the first byte of entropy-coded data. interval_bytes: (intervals,) uint32, each interval's
    bytes without the marker behind it; empty where the file was left as it is.
    """

    data: bytes
    kind: Kind
    reason: str
    height: int
    width: int
    scan_offset: int
    interval_bytes: NDArray[np.uint32]


def transcode(data: bytes, growth: float, interval_pixels: int = INTERVAL_PIXELS) -> Transcoded:
    """Give a JPEG restart intervals by which regions of it can be cut, without any loss.

    The intervals divide the rows of MCUs and are ``interval_pixels`` wide, or little more. They are wider, or
    several rows long, where the file would grow by more than the share ``growth`` of its bytes; where none
    keeps it within that, it stays as it is. A progressive file is larger as a baseline one in any case: its
    growth counts from what it takes as such without intervals.

    Sequential and progressive Huffman-coded JPEGs of one or three 8-bit components become one baseline
    scan of all components, with optimised tables; APPn and COM segments stay, padding behind the end of the
    image does not. Everything else comes back as it was. Runs without the GIL for most of its time.
    """
    headers: Headers | None = None
    try:
        headers = begin(data)
        return _transcode(data, headers, growth, interval_pixels)
    except Unfit as unfit:
        height, width = (headers.height, headers.width) if headers else (0, 0)
        return Transcoded(data, unfit.kind, str(unfit), height, width, 0, np.empty(0, np.uint32))


class _Tokens(NamedTuple):
    """The image as ``read_tokens`` or ``tokens_of_coefficients`` gave it, with its AC symbols counted.

    kinds: for each block of an MCU its component, (B, 3) int64.
    """

    kinds: NDArray[np.int64]
    means: NDArray[np.int32]
    tokens: NDArray[np.int32]
    ac_counts: NDArray[np.int64]


def _transcode(data: bytes, headers: Headers, growth: float, interval_pixels: int) -> Transcoded:
    layout = layout_of(headers.height, headers.width, headers.components)
    if layout.blocks > _MOST_BLOCKS_A_BYTE * len(data) + 64:
        raise Unfit("damaged", "too few bytes for its size in pixels")
    assert headers.scan is not None
    if not headers.progressive and len(headers.scan.components) == len(headers.components):
        image = _image_of_scan(data, headers, headers.scan, layout)
    else:
        image = _image_of_scans(data, headers, layout)
    _require_nothing_behind(data, headers.place)
    ac = _coding(image.ac_counts, len(headers.components), 15)
    before_bytes = len(data)
    if headers.progressive:
        whole = _planned(headers, layout, image, layout.rows * layout.columns, ac)
        before_bytes = len(_write(headers, layout, image, whole, ac).data)
    most_bytes = int(before_bytes * (1 + growth))
    # Most of the zeros that are stuffed behind 0xFF come again: what is too long with them is not tried.
    stuffed_bytes = 3 * data.count(b"\xff\0") // 4
    for interval in restart_intervals(layout, interval_pixels):
        plan = _planned(headers, layout, image, interval, ac)
        if plan.least_bytes + stuffed_bytes <= most_bytes:
            made = _write(headers, layout, image, plan, ac)
            if len(made.data) <= most_bytes:
                return made
    raise Unfit("would grow too much", f"restart intervals would add more than {100 * growth:g} %")


def _require_nothing_behind(data: bytes, end: int) -> None:
    """Raise Unfit for what would be lost behind the image: a gain map, a second view, a film."""
    rest = data[end:].strip(b"\0")
    if len(rest) > _MOST_PADDING_BYTES or rest.startswith(bytes((0xFF, SOI))):
        raise Unfit("data behind the image", f"{len(data) - end} bytes behind the end of the image")


def _image_of_scan(data: bytes, headers: Headers, scan: Scan, layout: Layout) -> _Tokens:
    """The one scan of a sequential file."""
    # A token takes a bit of the file at least; a block has at most 63.
    tokens = np.empty(min(63 * layout.blocks, 8 * (len(data) - headers.place)) + 64, np.int32)
    image = _Tokens(
        kinds_of_scan(scan, layout), np.empty(layout.blocks, np.int32), tokens, np.zeros((2, 256), np.int64)
    )
    status, place, count = read_tokens(
        np.frombuffer(data, np.uint8),
        headers.place,
        layout.rows * layout.columns,
        headers.restart_interval,
        image.kinds,
        decoders(headers.tables),
        image.means,
        image.tokens,
        image.ac_counts,
    )
    if status != SOUND:
        raise Unfit("damaged", f"damaged image data near byte {place}")
    headers.place = place
    read_on(data, headers)
    if headers.scan is not None:
        raise Unfit("unusual", "a component in two scans")
    return image._replace(tokens=tokens[:count])


def _image_of_scans(data: bytes, headers: Headers, layout: Layout) -> _Tokens:
    """All scans of a progressive file, or of a sequential one that codes its components apart."""
    coefficients = coefficients_of_scans(data, headers, layout)
    every = Scan(
        tuple(ScanComponent(place, 0, 0) for place in range(len(headers.components))), (0, 63), (0, 0)
    )
    # A block has a token for each coefficient that is not zero, which takes a bit of the file at least, up
    # to three for runs of zeros, and one for its end.
    tokens = np.empty(min(63 * layout.blocks, 8 * len(data) + 4 * layout.blocks), np.int32)
    image = _Tokens(
        kinds_of_scan(every, layout), np.empty(layout.blocks, np.int32), tokens, np.zeros((2, 256), np.int64)
    )
    order = interleaved_order(layout)
    status, count = tokens_of_coefficients(
        coefficients, order, image.kinds, image.means, tokens, image.ac_counts
    )
    if status != SOUND:
        raise Unfit("unusual", "a coefficient too large for the baseline process")
    return image._replace(tokens=tokens[:count])


class _Coding(NamedTuple):
    """Tables for one kind of symbol, by destination. codes: (2, 256) int64. bits: of all symbols together."""

    tables: list[HuffmanTable]
    codes: NDArray[np.int64]
    bits: int


class _Plan(NamedTuple):
    """A file with ``interval`` MCUs between restarts. head: all before the entropy-coded data.

    least_bytes: its size, but for zeros stuffed behind 0xFF and the filling of the last bytes of intervals.
    """

    interval: int
    intervals: int
    head: bytes
    dc: _Coding
    least_bytes: int


def _planned(headers: Headers, layout: Layout, image: _Tokens, interval: int, ac: _Coding) -> _Plan:
    dc = _dc_coding(headers, image, interval)
    intervals = -(-layout.rows * layout.columns // interval)
    head = _head(headers, interval if intervals > 1 else 0, dc, ac)
    coded_bytes = -(-(ac.bits + dc.bits) // 8)
    return _Plan(interval, intervals, head, dc, len(head) + coded_bytes + 2 * intervals)


def _write(headers: Headers, layout: Layout, image: _Tokens, plan: _Plan, ac: _Coding) -> Transcoded:
    dc, intervals = plan.dc, plan.intervals
    # Each byte may be stuffed; each interval is filled up to a whole byte and has a marker.
    out = np.empty(2 * ((ac.bits + dc.bits) // 8 + intervals) + 2 * intervals + 64, np.uint8)
    interval_bytes = np.empty(intervals, np.uint32)
    mcus = layout.rows * layout.columns
    size = write_tokens(
        image.means, image.tokens, mcus, plan.interval, image.kinds, dc.codes, ac.codes, out, interval_bytes
    )
    data = b"".join((plan.head, out[:size].data, bytes((0xFF, EOI))))
    kind: Kind = "progressive" if headers.progressive else "baseline"
    return Transcoded(data, kind, "", headers.height, headers.width, len(plan.head), interval_bytes)


def _dc_coding(headers: Headers, image: _Tokens, interval: int) -> _Coding:
    counts = np.zeros((2, 256), np.int64)
    if count_differences(image.means, image.kinds, interval, counts) != SOUND:
        raise Unfit("unusual", "a coefficient too large for the baseline process")
    return _coding(counts, len(headers.components), 255)


def _coding(counts: NDArray[np.int64], components: int, size_mask: int) -> _Coding:
    """The best tables for symbols of which the bits ``size_mask`` tell how many bits follow."""
    codes = np.zeros((2, 256), np.int64)
    tables = [_table(counts[place], codes[place]) for place in range(min(2, components))]
    lengths = (codes & 31) + (np.arange(256) & size_mask)
    return _Coding(tables, codes, int((counts * lengths).sum()))


def _table(frequencies: NDArray[np.int64], codes: NDArray[np.int64]) -> HuffmanTable:
    """The best table for these symbols; their codes are written to ``codes``."""
    counts, values = np.zeros(16, np.uint8), np.zeros(256, np.uint8)
    used = best_table(frequencies, counts, values)
    assign_codes(counts, values, codes)
    return HuffmanTable(counts.tobytes(), values[:used].tobytes())


def _head(headers: Headers, interval: int, dc: _Coding, ac: _Coding) -> bytes:
    """Everything before the entropy-coded data."""
    # 16-bit quantisation tables are beyond the baseline process (B.2.4.1): the extended one has them.
    wide = any(segment[1] == 0xDB and _has_wide_table(segment) for segment in headers.kept)
    frame = bytes((0xFF, _EXTENDED if wide else _BASELINE)) + headers.frame[2:]
    many = len(headers.components)
    scan = bytes((many,))
    for place, component in enumerate(headers.components):
        table = 1 if place else 0
        scan += bytes((component.identifier, table << 4 | table))
    scan += bytes((0, 63, 0))
    parts = [bytes((0xFF, SOI)), *headers.kept, frame]
    if interval:
        parts.append(_segment(DRI, interval.to_bytes(2, "big")))
    tables = b"".join(
        bytes((kind << 4 | destination,)) + table.counts + table.values
        for kind, coding in enumerate((dc, ac))
        for destination, table in enumerate(coding.tables)
    )
    parts += [_segment(DHT, tables), _segment(SOS, scan)]
    return b"".join(parts)


def _has_wide_table(segment: bytes) -> bool:
    place = 4
    while place < len(segment):
        if segment[place] >> 4:
            return True
        place += 65
    return False


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
