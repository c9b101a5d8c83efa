"""How the blocks of a JPEG lie: MCUs, rows, and the restart interval that makes regions addressable.

ITU-T T.81, A.1 and A.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.jpeg.errors import Unfit

BLOCK = 8
"""Pixels along a block's side."""
INTERVAL_PIXELS = 48
"""The least width of restart intervals: narrower ones cost more bytes than they save time."""
MOST_PIXELS = 2 * 89_478_485
"""Larger images are left alone: Pillow refuses them as decompression bombs (twice its MAX_IMAGE_PIXELS)."""
_MOST_BLOCKS = 10  # in an MCU (B.2.3)
_LONGEST_INTERVAL = 0xFFFF  # in MCUs (B.2.4.4)


class Component(NamedTuple):
    """A colour component of the frame: its identifier, sampling factors and quantisation table."""

    identifier: int
    horizontal: int
    vertical: int
    quantisation: int


class Layout(NamedTuple):
    """Where the blocks of a frame lie when all components are interleaved in one scan.

    mcu_height, mcu_width: in pixels. rows, columns: of MCUs. block_columns, block_rows: for each component,
    with the blocks that only fill up the last MCU. first_block: number of each component's first block;
    the components' blocks follow each other, each in rows. blocks: of all components.
    """

    mcu_height: int
    mcu_width: int
    rows: int
    columns: int
    block_rows: tuple[int, ...]
    block_columns: tuple[int, ...]
    first_block: tuple[int, ...]
    blocks: int


def layout_of(height: int, width: int, components: tuple[Component, ...]) -> Layout:
    """The layout of a frame. Raises Unfit for one of more than MOST_PIXELS, or too much for a single scan."""
    if height * width > MOST_PIXELS:
        raise Unfit("unusual", f"{width} x {height} pixels, more than decoders take")
    if len(components) == 1:  # never interleaved: an MCU is one block, whatever the sampling factors say
        factors = [(1, 1)]
    else:
        factors = [(component.vertical, component.horizontal) for component in components]
    if sum(vertical * horizontal for vertical, horizontal in factors) > _MOST_BLOCKS:
        raise Unfit("unusual", "an MCU of more than 10 blocks")
    tallest = max(vertical for vertical, _ in factors)
    widest = max(horizontal for _, horizontal in factors)
    rows, columns = _ceiling(height, BLOCK * tallest), _ceiling(width, BLOCK * widest)
    block_rows = tuple(rows * vertical for vertical, _ in factors)
    block_columns = tuple(columns * horizontal for _, horizontal in factors)
    sizes = [down * across for down, across in zip(block_rows, block_columns, strict=True)]
    first = tuple(sum(sizes[:place]) for place in range(len(sizes)))
    return Layout(
        BLOCK * tallest, BLOCK * widest, rows, columns, block_rows, block_columns, first, sum(sizes)
    )


def restart_intervals(layout: Layout, least_pixels: int = INTERVAL_PIXELS) -> Iterator[int]:
    """MCUs between restarts by which regions can be cut, from the narrowest interval to the longest.

    Divisors of a row that make intervals of ``least_pixels`` at least, the whole row, and 2, 4, 8 ... rows.
    """
    for mcus in range(_ceiling(least_pixels, layout.mcu_width), layout.columns):
        if layout.columns % mcus == 0:
            yield mcus
    yield layout.columns
    rows = 2
    while rows < layout.rows and rows * layout.columns <= _LONGEST_INTERVAL:
        yield rows * layout.columns
        rows *= 2


def interleaved_order(layout: Layout, scanned: Iterable[int] | None = None) -> NDArray[np.int32]:
    """Block numbers in the order of the MCUs of a scan of these (or all) components (A.2.3), 1-D int32."""
    mcus = layout.rows * layout.columns
    places = range(len(layout.first_block)) if scanned is None else scanned
    parts = []
    for place in places:
        down, across = layout.block_rows[place] // layout.rows, layout.block_columns[place] // layout.columns
        split = _grid(layout, place).reshape(layout.rows, down, layout.columns, across)
        parts.append(split.transpose(0, 2, 1, 3).reshape(mcus, -1))
    return np.concatenate(parts, axis=1).ravel()


def lone_shape(layout: Layout, height: int, width: int, component: Component) -> tuple[int, int]:
    """Rows and columns of a component's blocks without those that only fill up (A.2.2).

    ceil(ceil(pixels * factor / largest factor) / 8) blocks are ceil(pixels * factor / MCU pixels).
    """
    if len(layout.first_block) == 1:
        return layout.rows, layout.columns
    down = _ceiling(height * component.vertical, layout.mcu_height)
    across = _ceiling(width * component.horizontal, layout.mcu_width)
    return down, across


def lone_order(
    layout: Layout, height: int, width: int, component: Component, place: int
) -> NDArray[np.int32]:
    """Block numbers in the order of a scan of one component, 1-D int32."""
    down, across = lone_shape(layout, height, width, component)
    return _grid(layout, place)[:down, :across].ravel()


def _grid(layout: Layout, place: int) -> NDArray[np.int32]:
    """Numbers of a component's blocks, (rows, columns) int32."""
    shape = (layout.block_rows[place], layout.block_columns[place])
    numbers = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    return numbers + np.int32(layout.first_block[place])


def _ceiling(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
