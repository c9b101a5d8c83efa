"""The segments of a JPEG before and between its scans (ITU-T T.81, B.2), read strictly.

What decoders disagree about, or only guess, is Unfit here: such a file passes as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from throughput.jpeg.errors import Unfit
from throughput.jpeg.huffman import HuffmanTable, is_sound
from throughput.jpeg.layout import Component

SOI, EOI, SOS, DHT, DQT, DRI, DNL, DAC, COM = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xDD, 0xDC, 0xCC, 0xFE
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, DAC)
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7)
_MOST_SCANS = 500
"""A file of many tiny scans would take minutes to decode; libjpeg-turbo's own tools stop at as many."""
_KEPT = (*range(0xE0, 0xF0), COM)  # APPn and comments


class ScanComponent(NamedTuple):
    """A component of a scan by its place in the frame, and the tables that it uses."""

    place: int
    dc: int
    ac: int


class Scan(NamedTuple):
    """A scan header. band: first and last coefficient. shifts: bit positions, high and low."""

    components: tuple[ScanComponent, ...]
    band: tuple[int, int]
    shifts: tuple[int, int]


@dataclass
class Headers:
    """What the segments read so far say.

    kept: APPn, COM and DQT segments, whole. restart_interval: in MCUs, 0 for none.
    tables: Huffman tables by 4 * class + destination. scan: the scan whose data comes next; None at the end.
    """

    place: int
    height: int = 0
    width: int = 0
    progressive: bool = False
    components: tuple[Component, ...] = ()
    frame: bytes = b""
    kept: list[bytes] = field(default_factory=list)
    quantisation: set[int] = field(default_factory=set)
    tables: dict[int, HuffmanTable] = field(default_factory=dict)
    restart_interval: int = 0
    scan: Scan | None = None
    scans: int = 0


def begin(data: bytes) -> Headers:
    """Read up to the data of the first scan. Raises Unfit."""
    if data[:2] != bytes((0xFF, SOI)):
        raise Unfit("not a JPEG", "it does not begin with SOI")
    headers = Headers(place=2)
    read_on(data, headers)
    if headers.scan is None:
        raise Unfit("damaged", "no image data")
    return headers


def read_on(data: bytes, headers: Headers) -> None:
    """Read on from ``headers.place`` to behind the next scan header, or to EOI. Raises Unfit."""
    headers.scan = None
    while True:
        marker = _marker(data, headers)
        if marker == EOI:
            return
        begin = headers.place
        if begin + 2 > len(data):
            raise Unfit("damaged", "it ends in a segment")
        length = int.from_bytes(data[begin : begin + 2], "big")
        end = begin + length
        if length < 2 or end > len(data):
            raise Unfit("damaged", "it ends in a segment")
        body = data[begin + 2 : end]
        headers.place = end
        if marker in _KEPT:
            # A comment between scans goes before the first. Of APPn it would change what decoders see: they
            # take colours (JFIF, Adobe) and the orientation (EXIF) from what stands before the image data.
            if headers.scans and marker != COM:
                raise Unfit("unusual", f"an APP{marker - 0xE0} segment behind image data")
            headers.kept.append(data[begin - 2 : end])
        elif marker == DQT:
            if headers.scans:
                raise Unfit("unusual", "quantisation tables between scans")
            _quantisation(body, headers)
            headers.kept.append(data[begin - 2 : end])
        elif marker == DHT:
            _huffman(body, headers)
        elif marker == DRI:
            if len(body) != 2:
                raise Unfit("damaged", "a restart interval of the wrong length")
            headers.restart_interval = int.from_bytes(body, "big")
        elif marker in _SEQUENTIAL or marker == _PROGRESSIVE:
            _frame(marker, body, data[begin - 2 : end], headers)
        elif marker == SOS:
            headers.scan = _scan(body, headers)
            headers.scans += 1
            if headers.scans > _MOST_SCANS:
                raise Unfit("unusual", f"more than {_MOST_SCANS} scans")
            return
        elif marker in _ARITHMETIC:
            raise Unfit("arithmetic-coded", "arithmetic coding")
        elif marker in _OTHER_FRAMES:
            raise Unfit("lossless or hierarchical", f"a frame of kind SOF{marker - 0xC0}")
        else:
            raise Unfit("unusual", f"a segment of kind 0x{marker:02X}")


def _marker(data: bytes, headers: Headers) -> int:
    """Read a marker, with fill bytes before it (B.1.1.2)."""
    place = headers.place
    if data[place : place + 1] != b"\xff":
        raise Unfit("damaged", f"no marker at byte {place}")
    while data[place : place + 1] == b"\xff":
        place += 1
    if place >= len(data) or data[place] == 0:
        raise Unfit("damaged", "it ends before EOI")
    headers.place = place + 1
    return data[place]


def _quantisation(body: bytes, headers: Headers) -> None:
    place = 0
    while place < len(body):
        wide, destination = body[place] >> 4, body[place] & 15
        place += 1 + (128 if wide else 64)
        if wide > 1 or destination > 3 or place > len(body):
            raise Unfit("damaged", "a quantisation table of the wrong length")
        if destination in headers.quantisation:
            raise Unfit("unusual", "a quantisation table given twice")
        headers.quantisation.add(destination)


def _huffman(body: bytes, headers: Headers) -> None:
    place = 0
    while place < len(body):
        if place + 17 > len(body):
            raise Unfit("damaged", "a Huffman table of the wrong length")
        kind, destination = body[place] >> 4, body[place] & 15
        counts = body[place + 1 : place + 17]
        values = body[place + 17 : place + 17 + sum(counts)]
        table = HuffmanTable(counts, values)
        if kind > 1 or destination > 3 or not is_sound(table) or (kind == 0 and max(values, default=0) > 15):
            raise Unfit("damaged", "an unsound Huffman table")
        headers.tables[4 * kind + destination] = table
        place += 17 + sum(counts)


def _frame(marker: int, body: bytes, segment: bytes, headers: Headers) -> None:
    if headers.components:
        raise Unfit("unusual", "two frames")
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise Unfit("damaged", "a frame header of the wrong length")
    if body[0] != 8:
        raise Unfit("12-bit" if body[0] == 12 else "unusual", f"{body[0]} bits a sample")
    headers.height, headers.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if headers.width == 0:
        raise Unfit("damaged", "no width")
    if headers.height == 0:
        raise Unfit("unusual", "its height comes behind the image data")
    if body[5] == 4:
        raise Unfit("CMYK", "four components")
    if body[5] not in (1, 3):
        raise Unfit("unusual", f"{body[5]} components")
    headers.progressive = marker == _PROGRESSIVE
    headers.components = tuple(
        Component(body[place], body[place + 1] >> 4, body[place + 1] & 15, body[place + 2])
        for place in range(6, len(body), 3)
    )
    if any(not (1 <= one.vertical <= 4 and 1 <= one.horizontal <= 4) for one in headers.components):
        raise Unfit("damaged", "a sampling factor beyond 4")
    if len({one.identifier for one in headers.components}) < len(headers.components):
        raise Unfit("unusual", "two components of one name")
    headers.frame = segment


def _scan(body: bytes, headers: Headers) -> Scan:
    if not headers.components:
        raise Unfit("damaged", "a scan before the frame header")
    if not body or len(body) != 4 + 2 * body[0] or not 1 <= body[0] <= len(headers.components):
        raise Unfit("damaged", "a scan header of the wrong length")
    identifiers = [one.identifier for one in headers.components]
    found = []
    for place in range(1, len(body) - 3, 2):
        if body[place] not in identifiers:
            raise Unfit("damaged", "a scan of a component that the frame lacks")
        component = ScanComponent(identifiers.index(body[place]), body[place + 1] >> 4, body[place + 1] & 15)
        if component.dc > 3 or component.ac > 3:
            raise Unfit("damaged", "a scan with a table beyond 3")
        found.append(component)
    places = [one.place for one in found]
    if places != sorted(set(places)):
        raise Unfit("unusual", "a scan whose components are not in the frame's order")
    if any(headers.components[place].quantisation not in headers.quantisation for place in places):
        raise Unfit("damaged", "a component without a quantisation table")
    first, last, shifts = body[-3], body[-2], (body[-1] >> 4, body[-1] & 15)
    if headers.progressive:
        sound = first <= last <= 63 and (first > 0 or last == 0) and (first == 0 or len(found) == 1)
        sound = sound and shifts[1] <= 13 and (shifts[0] == 0 or shifts[0] == shifts[1] + 1)
    else:
        sound = (first, last, *shifts) == (0, 63, 0, 0)
    if not sound:
        raise Unfit("damaged", "a scan header with impossible numbers")
    refining = shifts[0] > 0
    for one in found:
        needed = [one.dc] if first == 0 and not refining else []
        needed += [4 + one.ac] if last > 0 else []
        if any(table not in headers.tables for table in needed):
            raise Unfit("damaged", "a scan without its Huffman table")
    return Scan(tuple(found), (first, last), shifts)
