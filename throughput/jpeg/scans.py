"""The scans of a progressive JPEG, or of a sequential one that codes its components apart, put together.

Such a file is Unfit where it leaves a coefficient unsent, or some of its bits: libjpeg smooths blocks that
it knows not to be exact (jdcoefct.c, ``smoothing_ok``), and a baseline file cannot tell it that they are not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from throughput.jpeg.coefficients import read_scan
from throughput.jpeg.errors import Unfit
from throughput.jpeg.huffman import decoders
from throughput.jpeg.layout import Component, Layout, interleaved_order, lone_order, lone_shape
from throughput.jpeg.parse import Headers, Scan, read_on
from throughput.jpeg.tokens import SOUND

MOST_STEPS = 1 << 31
"""Coefficients that all scans together may go over: seconds of work. A few bytes of a scan can say nothing
new about very many blocks; what libjpeg writes goes over each of an image's coefficients three times."""
_UNSENT = -1


def kinds_of_scan(scan: Scan, layout: Layout) -> NDArray[np.int64]:
    """For each block of an MCU its component and the places of its tables, (B, 3) int64."""
    if len(scan.components) == 1:
        counts = [1]
    else:
        mcus = layout.rows * layout.columns
        counts = [
            layout.block_rows[one.place] * layout.block_columns[one.place] // mcus for one in scan.components
        ]
    return np.array(
        [
            (one.place, one.dc, 4 + one.ac)
            for one, count in zip(scan.components, counts, strict=True)
            for _ in range(count)
        ],
        np.int64,
    )


def coefficients_of_scans(data: bytes, headers: Headers, layout: Layout) -> NDArray[np.int16]:
    """All blocks' coefficients, (blocks, 64) int16 in zigzag order, after all scans. Raises Unfit."""
    coefficients = np.zeros((layout.blocks, 64), np.int16)
    array = np.frombuffer(data, np.uint8)
    # The lowest bit that is known of each component's coefficients: 0 where they are exact.
    lowest = np.full((len(headers.components), 64), _UNSENT, np.int64)
    steps = 0
    while headers.scan is not None:
        scan = headers.scan
        _advance(lowest, scan, headers.progressive)
        order = _order(scan, headers, layout)
        steps += len(order) * (scan.band[1] - scan.band[0] + 1)
        if steps > MOST_STEPS:
            raise Unfit("unusual", "too many scans for its size in pixels")
        status, place = read_scan(
            array,
            headers.place,
            order,
            kinds_of_scan(scan, layout),
            headers.restart_interval,
            scan.band,
            scan.shifts,
            decoders(headers.tables),
            coefficients,
        )
        if status != SOUND:
            raise Unfit("damaged", f"damaged image data near byte {place}")
        headers.place = place
        read_on(data, headers)
    if (lowest[:, 0] == _UNSENT).any():
        raise Unfit("damaged", "a component without image data")
    if (lowest != 0).any():
        raise Unfit("unusual", "scans that leave coefficients inexact, which decoders smooth")
    for place, component in enumerate(headers.components):
        _fill_up(coefficients, headers, layout, component, place)
    return coefficients


def _advance(lowest: NDArray[np.int64], scan: Scan, progressive: bool) -> None:
    """Note what a scan makes known. Unfit where it does not follow from the scans before it (G.1.1.1)."""
    first, last = scan.band
    high, low = scan.shifts
    for one in scan.components:
        if first > 0 and lowest[one.place, 0] == _UNSENT:
            raise Unfit("unusual", "AC before DC")
        band = lowest[one.place, first : last + 1]
        if (band != (high or _UNSENT)).any():
            raise Unfit("unusual", "a scan out of order" if progressive else "a component in two scans")
        band[:] = low


def _order(scan: Scan, headers: Headers, layout: Layout) -> NDArray[np.int32]:
    """Numbers of the blocks that a scan codes, in its order."""
    places = [one.place for one in scan.components]
    if len(places) > 1:
        return interleaved_order(layout, places)
    return lone_order(layout, headers.height, headers.width, headers.components[places[0]], places[0])


def _fill_up(
    coefficients: NDArray[np.int16], headers: Headers, layout: Layout, component: Component, place: int
) -> None:
    """Give the blocks beyond the image the DC of their neighbours: coded in a bit, and never shown."""
    shape = (layout.block_rows[place], layout.block_columns[place])
    down, across = lone_shape(layout, headers.height, headers.width, component)
    first = layout.first_block[place]
    means = coefficients[first : first + shape[0] * shape[1], 0].reshape(shape)
    means[:, across:] = means[:, across - 1 : across]
    means[down:] = means[down - 1]
