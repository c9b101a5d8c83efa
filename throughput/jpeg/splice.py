"""A region of a JPEG with restart markers, as a small JPEG of its own.

The entropy coder starts afresh behind each restart marker (ITU-T T.81, E.1.4): the header with another
height and width, the intervals that cover the region, their markers numbered anew, and EOI are a valid
file. Decoded, its pixels are those of the whole image, except next to its cut edges, where chroma
upsampling would have looked at pixels that are gone: the region is taken wider by what that may reach.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.jpeg.layout import MOST_PIXELS
from throughput.kernel import kernel

SPLICED, WHOLE, NOT_ADDRESSABLE = 0, 1, 2
"""The region was cut out; it needs every interval; the file has no restart intervals to cut at."""
BAD_MARKER, BAD_INDEX, TRUNCATED, BAD_HEADER = -1, -2, -3, -4
DAMAGES = {
    BAD_MARKER: "a restart marker is missing or out of order",
    BAD_INDEX: "it is not what the index beside its shard says (its size, or its restart intervals)",
    TRUNCATED: "its restart intervals end too soon",
    BAD_HEADER: "its header is damaged",
}
"""What a status below zero says of a file."""

FOUND = np.empty(0, np.uint16)
FOUND.flags.writeable = False  # like what an index keeps: one compiled kernel serves both
"""In place of interval lengths that nobody kept: the markers are looked for."""
ANY_SIZE = (-1, -1)
"""In place of a size that nobody knows beforehand."""
_HEADER_ROOM = 2048
_JFIF, _ADOBE = (0x4A, 0x46, 0x49, 0x46, 0x00), (0x41, 0x64, 0x6F, 0x62, 0x65)


class Region(NamedTuple):
    """What ``cut`` made. size_bytes: of the small JPEG; the rest says which pixels of the image it shows."""

    status: int
    size_bytes: int
    top: int
    left: int
    height: int
    width: int


def room_bytes(data_bytes: int) -> int:
    """How long an output ``cut`` needs for a file of so many bytes."""
    return data_bytes + _HEADER_ROOM


def cut(
    data: NDArray[np.uint8],
    interval_bytes: NDArray[np.uint16],
    box: tuple[int, int, int, int],
    out: NDArray[np.uint8],
    size: tuple[int, int] = ANY_SIZE,
) -> Region:
    """Write the JPEG of a region that covers ``box`` (top, left, height, width in pixels) to ``out``.

    data: (M,) uint8, read-only. interval_bytes: of all intervals, as they were kept when the file was
    made, or FOUND. out: at least ``room_bytes(M)``. size: the height and width that the image must have.
    What ``out`` holds means nothing unless the status is SPLICED.
    """
    return Region(*_cut(data, interval_bytes, *size, *box, out))


@kernel
def _cut(data, kept, known_height, known_width, top, left, height, width, out):
    (
        status,
        place,
        end,
        interval,
        image_height,
        image_width,
        mcu_height,
        mcu_width,
        margin_y,
        margin_x,
        frame,
    ) = _copy_header(data, out)
    if status != SPLICED:
        return status, 0, 0, 0, 0, 0
    if known_height >= 0 and (image_height != known_height or image_width != known_width):
        return BAD_INDEX, 0, 0, 0, 0, 0
    columns = (image_width + mcu_width - 1) // mcu_width
    if interval > columns and interval % columns == 0:  # several rows are cut as one of taller MCUs
        mcu_height *= interval // columns
        interval = columns
    rows = (image_height + mcu_height - 1) // mcu_height
    if interval == 0 or columns % interval != 0:
        return (BAD_INDEX if len(kept) > 1 else NOT_ADDRESSABLE), 0, 0, 0, 0, 0
    across = columns // interval
    step = interval * mcu_width
    first_column = max(0, left - margin_x) // step
    last_column = min(across, (min(image_width, left + width + margin_x) + step - 1) // step)
    first_row = max(0, top - margin_y) // mcu_height
    last_row = min(rows, (min(image_height, top + height + margin_y) + mcu_height - 1) // mcu_height)
    if last_column <= first_column or last_row <= first_row:
        return BAD_HEADER, 0, 0, 0, 0, 0
    # Chroma is interpolated across only where it is more than two samples wide (libjpeg-turbo's jdsample.c).
    shown = min(last_column * step, image_width) - first_column * step
    if margin_x and first_column > 0 and shown <= 2 * margin_x:
        first_column -= 1
    taken = (last_column - first_column) * (last_row - first_row)
    lengths = np.empty(across * rows, np.uint16)
    if len(kept) == 0:
        if taken == across * rows:  # not looked for: decoders cope with more than can be cut
            return WHOLE, 0, 0, 0, 0, 0
        status = _find(data, place, lengths)
    elif len(kept) != across * rows:
        status = BAD_INDEX
    else:
        lengths[:] = kept
        status = _check(data, place, lengths)
    if status != SPLICED:
        return status, 0, 0, 0, 0, 0
    if taken == across * rows:
        return WHOLE, 0, 0, 0, 0, 0
    region_height = min(last_row * mcu_height, image_height) - first_row * mcu_height
    region_width = min(last_column * step, image_width) - first_column * step
    out[frame] = region_height >> 8
    out[frame + 1] = region_height & 0xFF
    out[frame + 2] = region_width >> 8
    out[frame + 3] = region_width & 0xFF
    index = 0
    for _ in range(first_row * across):
        place += np.int64(lengths[index]) + 2
        index += 1
    written = 0
    for _ in range(first_row, last_row):
        for _ in range(first_column):
            place += np.int64(lengths[index]) + 2
            index += 1
        begin = place
        shift = end - begin
        for column in range(first_column, last_column):
            place += np.int64(lengths[index])
            if column + 1 < last_column:
                place += 2
            index += 1
        _copy(data, begin, place, out, end)
        # The markers are numbered anew, in the copy.
        mark = begin
        for column in range(first_column, last_column):
            mark += np.int64(lengths[index - (last_column - column)])
            out[mark + shift] = 0xFF
            out[mark + shift + 1] = 0xD0 + (written & 7)
            mark += 2
            written += 1
        end = mark + shift
        place += 2
        for _ in range(last_column, across):
            place += np.int64(lengths[index]) + 2
            index += 1
    out[end - 2] = 0xFF
    out[end - 1] = 0xD9
    return (
        SPLICED,
        end,
        first_row * mcu_height,
        first_column * step,
        region_height,
        region_width,
    )


@kernel
def _copy(data, begin, end, out, to):
    """Copy bytes. Unsigned places: numba would test signed ones for being negative, byte by byte."""
    source, target = np.uint64(begin), np.uint64(to)
    for place in range(np.uint64(end - begin)):
        out[target + place] = data[source + place]


@kernel
def _copy_header(data, out):
    """Copy what a decoder needs of the segments before the scan.

    Returns the status, the scan's first byte, the end of what was written, the restart interval in MCUs,
    the image's and an MCU's height and width, the pixels that upsampling may reach (down, across), and
    where in ``out`` the height stands.
    """
    bad = (BAD_HEADER, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    unfit = (NOT_ADDRESSABLE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    if len(data) < 4 or data[0] != 0xFF or data[1] != 0xD8:
        return unfit
    out[0] = 0xFF
    out[1] = 0xD8
    place, end, interval, height, width, frame, components = 2, 2, 0, 0, 0, 0, 0
    mcu_height, mcu_width, margin_y, margin_x = 8, 8, 0, 0
    while True:
        if place + 4 > len(data) or data[place] != 0xFF:
            return bad
        marker = np.int64(data[place + 1])
        if marker == 0xFF:
            place += 1
            continue
        # Without a segment, or of no use here: decoders pass over some of them, and refuse others.
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or marker == 0xDC or marker == 0xDE or marker == 0xDF:
            return unfit
        if 0xF0 <= marker <= 0xFD:
            return unfit
        length = (np.int64(data[place + 2]) << 8) | np.int64(data[place + 3])
        after = place + 2 + length
        if length < 2 or after > len(data):
            return bad
        if marker == 0xC0 or marker == 0xC1:
            if length < 11 or frame != 0:
                return bad
            components = np.int64(data[place + 9])
            height = (np.int64(data[place + 5]) << 8) | np.int64(data[place + 6])
            width = (np.int64(data[place + 7]) << 8) | np.int64(data[place + 8])
            if length != 8 + 3 * components or width == 0:
                return bad
            if data[place + 4] != 8 or (components != 1 and components != 3) or height == 0:
                return unfit
            if height * width > MOST_PIXELS:
                return unfit
            if components == 3:
                widest, tallest = np.int64(data[place + 11]) >> 4, np.int64(data[place + 11]) & 15
                chroma = np.int64(data[place + 14])
                narrow, low = chroma >> 4, chroma & 15
                if chroma != data[place + 17] or narrow == 0 or low == 0:
                    return unfit
                across, down = widest // narrow, tallest // low
                known = (across == 1 or across == 2 or across == 4) and (down == 1 or down == 2)
                # The layouts that decoders take: 4:4:4, 4:2:2, 4:4:0, 4:2:0 and 4:1:1, whatever the factors
                # that say so, of which an MCU may hold 10 blocks (B.2.3).
                if not known or across * down > 4 or across * narrow != widest or down * low != tallest:
                    return unfit
                if widest * tallest + 2 * narrow * low > 10:
                    return unfit
                # TurboJPEG takes these of the unusual factors for a subsampled layout.
                if chroma != 0x11 and across * down > 1 and (widest != 2 or tallest != 2):
                    return unfit
                mcu_height, mcu_width = 8 * tallest, 8 * widest
                # One chroma sample beyond the edge, as many pixels as it covers.
                margin_y = down if down > 1 else 0
                margin_x = across if across > 1 else 0
            frame = end + 5
        elif 0xC2 <= marker <= 0xCF and marker != 0xC4:
            return unfit
        elif marker == 0xDD:
            if length != 4:
                return bad
            interval = (np.int64(data[place + 4]) << 8) | np.int64(data[place + 5])
        elif marker == 0xDA and (frame == 0 or length != 6 + 2 * components):
            return unfit if frame else bad
        keep = _kept_length(data, place, marker, length)
        if keep:
            if end + keep + 2 > _HEADER_ROOM:
                return unfit
            _copy(data, place, place + keep + 2, out, end)
            if keep < length:
                out[end + 2] = 0
                out[end + 3] = keep
                if marker == 0xE0:  # no thumbnail: its width and height
                    out[end + 16] = 0
                    out[end + 17] = 0
            end += keep + 2
        place = after
        if marker == 0xDA:
            break
    return SPLICED, place, end, interval, height, width, mcu_height, mcu_width, margin_y, margin_x, frame


@kernel
def _kept_length(data, place, marker, length):
    """How much of the segment at ``place`` is kept, as its length says it; 0 for none of it.

    JFIF and Adobe segments say which colours the components are, in the fields that they all have. JFIF
    goes on with a thumbnail.
    """
    if marker == 0xC0 or marker == 0xC1 or marker == 0xC4:
        return length
    if marker == 0xDA or marker == 0xDB or marker == 0xDD:
        return length
    if marker != 0xE0 and marker != 0xEE:
        return 0
    if length <= 32:
        return length
    name = _JFIF if marker == 0xE0 else _ADOBE
    for index in range(5):
        if data[place + 4 + index] != name[index]:
            return 0
    return 16 if marker == 0xE0 else 14


@kernel
def _check(data, place, lengths):
    """Whether the markers and the end stand where the ``lengths`` of intervals from ``place`` on say."""
    for index in range(len(lengths)):
        place += np.int64(lengths[index])
        if place + 2 > len(data):
            return TRUNCATED
        marker = 0xD9 if index + 1 == len(lengths) else 0xD0 + (index & 7)
        if data[place] != 0xFF or data[place + 1] != marker:
            return BAD_INDEX
        place += 2
    return SPLICED


@kernel
def _find(data, place, lengths):
    """Find the restart markers from ``place`` on and write the ``lengths`` of what lies between them."""
    begin = place
    found = 0
    last = len(data) - 1
    while place < last:
        # Four bytes at a time, as in ``refill``.
        near, limit = np.uint64(place), np.uint64(max(0, last - 4))
        while near < limit:
            word = (
                (np.int64(data[near]) << 24)
                | (np.int64(data[near + np.uint64(1)]) << 16)
                | (np.int64(data[near + np.uint64(2)]) << 8)
                | np.int64(data[near + np.uint64(3)])
            )
            if (((word ^ 0xFFFFFFFF) - 0x01010101) & word & 0x80808080) != 0:
                break
            near += np.uint64(4)
        place = np.int64(near)
        if data[place] != 0xFF or data[place + 1] == 0:
            place += 1
            continue
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte belongs to the marker: intervals with them are not cut
            return NOT_ADDRESSABLE
        if found >= len(lengths):
            return BAD_MARKER
        if place - begin > 0xFFFF:
            return NOT_ADDRESSABLE
        lengths[found] = place - begin
        found += 1
        if marker == 0xD9:
            return SPLICED if found == len(lengths) else TRUNCATED
        if marker != 0xD0 + ((found - 1) & 7):
            return BAD_MARKER
        place += 2
        begin = place
    return TRUNCATED
