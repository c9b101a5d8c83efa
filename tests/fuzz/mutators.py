"""Damage, made by a seeded generator: bytes that were right once, and are not any more."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

BLOCK = 512
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 10**30, 10**400, 0.0, -0.5, 1e-320, 1e300, "", "x", "..",
    "/etc/hosts", "pipe:touch ran", "\ud800", "\x1b[31m", [], {}, [[]], [None], {"": 0}, "9" * 5000,
)  # fmt: skip


def mutated(rng: Generator, data: bytes, other: bytes) -> bytes:
    """``data`` with one to three damages; ``other`` is what it may be spliced with."""
    for _ in range(int(rng.integers(1, 4))):
        damage: Callable[[Generator, bytes, bytes], bytes] = _DAMAGES[int(rng.integers(len(_DAMAGES)))]
        data = damage(rng, data, other)
    return data


def mutated_behind(rng: Generator, data: bytes, keep: int) -> bytes:
    """``data`` whose first ``keep`` bytes, a header, are left as they are, and its length."""
    changed = flipped(rng, data[keep:])
    for _ in range(int(rng.integers(2))):
        changed = _overwritten(rng, changed, b"")[: len(changed)]
    return data[:keep] + changed


def flipped(rng: Generator, data: bytes, _: bytes = b"") -> bytes:
    """A few bits the other way round."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        if changed:
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _overwritten(rng: Generator, data: bytes, _: bytes) -> bytes:
    """A number at its extremes where any number may stand, in 1 to 8 bytes of either order."""
    width = int(rng.choice([1, 2, 4, 8]))
    place = int(rng.integers(max(1, len(data) - width)))
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))] & ((1 << 8 * width) - 1)
    return data[:place] + value.to_bytes(width, str(rng.choice(["big", "little"]))) + data[place + width :]  # type: ignore[arg-type] # one of the two that it may be


def _renumbered(rng: Generator, data: bytes, _: bytes) -> bytes:
    """A number in digits with others, of the same length: sizes in tars, shapes in arrays, all of JSON."""
    found = list(re.finditer(rb"[0-9]+", data[: 1 << 16]))
    if not found:
        return data
    one = found[int(rng.integers(len(found)))]
    digits = rng.choice(list(b"0179"), len(one[0])).astype(np.uint8).tobytes()
    return data[: one.start()] + digits + data[one.end() :]


def _cut(rng: Generator, data: bytes, _: bytes) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _spliced(rng: Generator, data: bytes, other: bytes) -> bytes:
    return data[: int(rng.integers(len(data) + 1))] + other[int(rng.integers(len(other) + 1)) :]


def _span(rng: Generator, data: bytes) -> tuple[int, int]:
    """A stretch of the data; every other time along the blocks of a tar."""
    unit = BLOCK if rng.integers(2) and len(data) >= 2 * BLOCK else 1
    begin = int(rng.integers(len(data) // unit + 1))
    length = int(rng.integers(1, 2 + min(64, len(data) // unit)))
    return unit * begin, unit * (begin + length)


def _doubled(rng: Generator, data: bytes, _: bytes) -> bytes:
    begin, end = _span(rng, data)
    return data[:end] + data[begin:end] + data[end:]


def _dropped(rng: Generator, data: bytes, _: bytes) -> bytes:
    begin, end = _span(rng, data)
    return data[:begin] + data[end:]


def _copied_over(rng: Generator, data: bytes, other: bytes) -> bytes:
    """Some bytes of one file in the other, in place."""
    begin, end = _span(rng, other)
    part = other[begin:end]
    place = int(rng.integers(len(data) + 1))
    return data[:place] + part + data[place + len(part) :]


_TAR_FIELDS = ((0, 100), (124, 136), (156, 157), (157, 257), (257, 265), (345, 500))
"""Name, size, kind, link, magic and prefix."""
_DAMAGES = (flipped, _overwritten, _renumbered, _cut, _spliced, _doubled, _dropped, _copied_over)


def mutated_headers(rng: Generator, data: bytes) -> bytes:
    """A tar of which some fields of headers are others, and their checksums right."""
    blocks = range(0, len(data) - BLOCK + 1, BLOCK)
    begins = [begin for begin in blocks if data[begin + 257 : begin + 262] == b"ustar"]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4)) if begins else 0):
        begin = begins[int(rng.integers(len(begins)))]
        field, end = _TAR_FIELDS[int(rng.integers(len(_TAR_FIELDS)))]
        action = rng.integers(4)
        if action == 0:
            part = changed[begin + field : begin + end]
            changed[begin + field : begin + end] = flipped(rng, bytes(part))
        elif action == 1:
            there = begins[int(rng.integers(len(begins)))]
            changed[begin + field : begin + end] = data[there + field : there + end]
        elif action == 2:
            number = b"%0*o" % (end - field - 1, int(rng.integers(1 << 24)))
            changed[begin + field : begin + end] = number[-(end - field - 1) :] + b"\0"
        else:
            kinds = b"0012345677gxLKSVDMNA\0\xff"
            changed[begin + 156] = kinds[int(rng.integers(len(kinds)))]
    return with_tar_checksums(bytes(changed))


def with_tar_checksums(data: bytes) -> bytes:
    """A damaged tar whose headers' checksums are right again: somebody made it so."""
    changed = bytearray(data)
    for begin in range(0, len(data) - BLOCK + 1, BLOCK):
        block = changed[begin : begin + BLOCK]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            changed[begin + 148 : begin + 156] = b"%06o\0 " % sum(block)
    return bytes(changed)


def mutated_json(rng: Generator, value: Any) -> Any:
    """A copy of parsed JSON with one to three of its values replaced, removed, or put elsewhere."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(value))
        if not places:
            break
        holder, key = places[int(rng.integers(len(places)))]
        action = rng.integers(4)
        if action == 0:
            del holder[key]
        elif action == 1:
            there, name = places[int(rng.integers(len(places)))]
            holder[key] = copy.deepcopy(there[name])
        else:
            holder[key] = copy.deepcopy(_STRANGE[int(rng.integers(len(_STRANGE)))])
    return value


def _places(value: Any) -> Sequence[tuple[Any, Any]]:
    """Each (holder, key) of a value within dicts and lists."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (dict, list)):
            for key in one if isinstance(one, dict) else range(len(one)):
                found.append((one, key))
                waiting.append(one[key])
    return found
