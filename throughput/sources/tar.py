"""The members of a tar file and where their bytes lie.

Formats: POSIX.1-1988 ustar, POSIX.1-2001 pax, and GNU tar's long names and base-256 numbers. The
standard library's tarfile ends its listing without a word at a damaged header; a training set must
not shrink like that, so every block is accounted for here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from throughput.errors import SourceError

BLOCK_BYTES = 512
_ZEROS = bytes(BLOCK_BYTES)
_MAGIC, _MAGIC_AT = b"ustar", 257
_CHUNK_BYTES = 2048 * BLOCK_BYTES
_REGULAR = b"\x0007"
"""Type flags of regular files; 7 asks for one that lies in one piece."""
_WITHOUT_DATA = b"123456V"
"""Type flags of links, devices, folders, pipes and GNU's volume labels: whatever their size field says, no
data follows."""
_EXTENSIONS = b"xgLK"
"""Type flags of headers about the next member: pax records and GNU long names."""

_MOST_EXTENSION_BYTES = 1 << 20
"""Of a header about the next member: names are a few thousand bytes at most."""
_MOST_DIGITS = 20
_PAX_RECORD = re.compile(rb"([0-9]{1,9}) ")


class Member(NamedTuple):
    """A regular file in a tar: its data is ``size_bytes`` bytes from byte ``offset`` on."""

    name: str
    offset: int
    size_bytes: int


class _Header(NamedTuple):
    kind: bytes
    name: bytes
    size_bytes: int


def padded(size_bytes: int) -> int:
    """A size rounded up to whole blocks, as tar stores data."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def regular_members(file: BinaryIO, where: str, start: int = 0) -> Iterator[Member]:
    """Yield the regular files of an open tar in order; ``file`` may be moved between two of them.

    start: the byte of the header to begin with.

    Raises SourceError naming ``where`` and the byte offset for a header that is damaged, data that the
    file is too short for, bytes after the end mark, sparse members, and what is no tar at all.
    """
    end = file.seek(0, os.SEEK_END)
    position = start
    name: bytes | None = None
    size: int | None = None
    while position < end:
        file.seek(position)
        block = file.read(BLOCK_BYTES)
        if block == _ZEROS:
            _require_zeros(file, where)
            break
        header = _parse(block)
        if header is None:
            raise _damaged(block, where, position)
        offset = position + BLOCK_BYTES
        is_extension = header.kind in _EXTENSIONS
        data_bytes = header.size_bytes if is_extension or size is None else size
        if header.kind in _WITHOUT_DATA:
            data_bytes = 0
        # A file that ends inside the padding was cut as well, and whole members after it are gone.
        if offset + padded(data_bytes) > end:
            raise SourceError(
                f"{where} is truncated: the member at byte {position} has {data_bytes} bytes of data, "
                f"but the file ends at byte {end}; copy or make the shard again"
            )
        _require_readable(header.kind, data_bytes, where, position)
        if header.kind in b"xL" and (name is not None or size is not None):
            raise SourceError(  # programs disagree about which of them counts
                f"{where} has two headers about one member, one at byte {position}: make the shard again"
            )
        if header.kind == b"x":
            name, size = _pax(file.read(data_bytes), where, position)
        elif header.kind == b"L":
            name = file.read(data_bytes).partition(b"\0")[0]
        elif not is_extension:
            path = header.name if name is None else name
            name = size = None
            if header.kind in _REGULAR and not path.endswith(b"/"):
                yield Member(os.fsdecode(path), offset, data_bytes)
        position = offset + padded(data_bytes)
    if name is not None or size is not None:
        raise SourceError(
            f"{where} is truncated: it ends at byte {end}, before the member that its last header names"
        )


def next_header(file: BinaryIO, position: int) -> int | None:
    """The byte of the first header from ``position`` on that is sound, to go on behind a damaged one.

    position: a multiple of BLOCK_BYTES. Finds headers of the formats that begin their last part with
    ``ustar``; None where no other follows.
    """
    file.seek(position)
    while chunk := file.read(_CHUNK_BYTES):
        found = chunk.find(_MAGIC)
        while found >= 0:
            begin = found - _MAGIC_AT
            if begin % BLOCK_BYTES == 0 and _parse(chunk[begin : begin + BLOCK_BYTES]) is not None:
                return position + begin
            found = chunk.find(_MAGIC, found + 1)
        position += len(chunk)
    return None


def _require_readable(kind: bytes, data_bytes: int, where: str, position: int) -> None:
    """Raise SourceError for a member that would be left out without a word, or a header that is too long."""
    if kind == b"S":
        raise SourceError(
            f"{where} holds a sparse member at byte {position}: make the shard without --sparse"
        )
    if kind in b"xLK" and data_bytes > _MOST_EXTENSION_BYTES:
        raise SourceError(
            f"{where} has a damaged header at byte {position} ({data_bytes} bytes about one member): "
            "copy or make the shard again"
        )
    if kind not in _REGULAR + _WITHOUT_DATA + _EXTENSIONS:
        raise SourceError(
            f"{where} holds a member of the unknown kind {kind!r} at byte {position}: "
            "copy or make the shard again"
        )


def _parse(block: bytes) -> _Header | None:
    """A header block's fields, or None where its checksum or a number is wrong."""
    if len(block) < BLOCK_BYTES:
        return None
    checksum, size = _number(block[148:156]), _number(block[124:136])
    if checksum is None or size is None:
        return None
    # The checksum is taken with its own field read as eight spaces.
    blanked = block[:148] + b" " * 8 + block[156:]
    total = sum(blanked)
    # Some old tars add the bytes as signed numbers.
    if checksum != total and checksum != total - 256 * sum(byte > 127 for byte in blanked):
        return None
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].partition(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
    return _Header(block[156:157], name, size)


def _number(field: bytes) -> int | None:
    """An octal number, or GNU's base-256 form, whose first byte is 0x80."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        number = int(field.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return None
    return number if number >= 0 else None


def _pax(records: bytes, where: str, position: int) -> tuple[bytes | None, int | None]:
    """The path and the size in pax records (``LENGTH KEY=VALUE`` and a newline each), if they are there."""
    name: bytes | None = None
    size: int | None = None
    begin = 0
    while begin < len(records):
        record = _PAX_RECORD.match(records, begin)
        end = begin + int(record[1]) if record else 0
        key, equals, value = records[record.end() if record else 0 : max(0, end - 1)].partition(b"=")
        whole = bool(equals) and records[end - 1 : end] == b"\n"
        if not whole or (key == b"size" and not (value.isdigit() and len(value) <= _MOST_DIGITS)):
            raise SourceError(
                f"{where} has a damaged header at byte {position} (pax records): copy or make the shard again"
            )
        if key == b"size":
            size = int(value)
        if key.startswith(b"GNU.sparse."):
            raise SourceError(
                f"{where} holds a sparse member at byte {position}: make the shard without --sparse"
            )
        if key == b"path":
            name = value
        begin = end
    return name, size


def _require_zeros(file: BinaryIO, where: str) -> None:
    """Refuse members after the end mark: most readers would leave them out without a word."""
    while rest := file.read(1 << 20):
        if rest.count(0) != len(rest):
            near = file.tell() - len(rest.lstrip(b"\0"))
            raise SourceError(
                f"{where} goes on at byte {near}, after its end mark: "
                f"tar files were joined; name them one by one instead"
            )


def _damaged(block: bytes, where: str, position: int) -> SourceError:
    if position:
        return SourceError(f"{where} has a damaged header at byte {position}: copy or make the shard again")
    if block.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return SourceError(
            f"{where} is compressed: its images can only be read by place in a plain tar; unpack it"
        )
    return SourceError(f"{where} is no tar file: its first header is damaged; copy or make the shard again")
