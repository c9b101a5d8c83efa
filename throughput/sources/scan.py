"""What a WebDataset shard holds: samples are consecutive members that share a key.

Format: "The WebDataset Format", https://github.com/webdataset/webdataset. The key of a member is its
name up to the first dot of the last part; the rest is its extension. ``__name__`` members are meta data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO

from throughput.errors import SourceError
from throughput.sources.names import IMAGE_EXTENSIONS
from throughput.sources.tar import Member, regular_members

LABEL_FIELDS = ("label", "class", "cls", "target", "class_id")
"""Fields of a ``.json`` member that are taken for the label, in this order, unless one is named."""
MAX_CLASSES = 1_000_000
"""A label above this is an identifier that was taken for a class."""
_MOST_LABEL_BYTES = 1 << 26
"""Of a ``.cls`` or ``.json`` member, which is read whole; captions and boxes may stand beside the label."""

_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
_META = re.compile(r"__[^/]*__($|/)")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass
class ShardScan:
    """The samples of one shard in file order, one entry of each list a sample.

    members: names of the image members. offsets, sizes: where their bytes lie in the shard.
    labels: whole numbers of 0 or more, or class names.
    """

    members: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int | str] = field(default_factory=list)


def key_of(member: str) -> str:
    """The WebDataset key of a member: its name, folders included, up to the first dot of the last part."""
    match = _KEY.fullmatch(member)
    return match[1] if match else member


def key_and_extension(member: str) -> tuple[str, str] | None:
    """A member's key, and its extension in lower case; None for meta data and what has no extension."""
    match = _KEY.fullmatch(member)
    return (match[1], match[2].lower()) if match and not _META.match(member) else None


def scan_shard(path: str, label_field: str | None) -> ShardScan:
    """List the samples of a shard, as ``scan_open_shard`` does."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a Path for each of many shards gains nothing
            return scan_open_shard(file, path, label_field)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def scan_open_shard(file: BinaryIO, path: str, label_field: str | None) -> ShardScan:
    """List the samples of an open shard. path: what to call it.

    label_field: the field of ``.json`` members that holds the label; None: ``.cls``, then LABEL_FIELDS.
    Raises SourceError naming the shard for a damaged tar, and the key too for a sample without image or
    label, a key that comes twice and a label that is no class.
    """
    scan = ShardScan()
    keys: set[str] = set()
    extensions: set[str] = set()
    incomplete: str | None = None
    for key, parts in _samples(file, path):
        if key in keys:
            raise SourceError(f"{path}: the key {key} comes twice; make the shard with one key a sample")
        keys.add(key)
        extensions.update(parts)
        image = image_of(parts, path, key)
        if image is None:
            if "cls" in parts or "json" in parts:
                incomplete = incomplete or key
            continue
        scan.labels.append(label_of(file, parts, path, key, label_field))
        scan.members.append(image.name)
        scan.offsets.append(image.offset)
        scan.sizes.append(image.size_bytes)
    if not scan.members:
        raise SourceError(
            f"{path} holds no image ({_listed(IMAGE_EXTENSIONS)}); "
            f"the extensions of its members: {_listed(sorted(extensions)) or 'none'}"
        )
    if incomplete is not None:
        raise SourceError(
            f"{path}: the sample {incomplete} has a label but no image ({_listed(IMAGE_EXTENSIONS)}); "
            f"members of one sample must follow each other: make the shard again"
        )
    return scan


def _samples(file: BinaryIO, path: str) -> Iterator[tuple[str, dict[str, Member]]]:
    """Yield each key with its members by extension in lower case."""
    for key, group in groupby(_keyed(file, path), key=itemgetter(0)):
        parts: dict[str, Member] = {}
        for _, extension, member in group:
            if extension in parts:
                raise SourceError(
                    f"{path}: the key {key} comes twice (.{extension}); make the shard with one key a sample"
                )
            parts[extension] = member
        yield key, parts


def _keyed(file: BinaryIO, path: str) -> Iterator[tuple[str, str, Member]]:
    for member in regular_members(file, path):
        if parted := key_and_extension(member.name):
            yield *parted, member


def image_of(parts: dict[str, Member], path: str, key: str) -> Member | None:
    """The image among a sample's members: ``a.jpg`` goes before ``a.seg.png``. Raises SourceError."""
    for extension in IMAGE_EXTENSIONS:
        if extension in parts:
            return parts[extension]
    compound = [name for name in parts if name.rpartition(".")[2] in IMAGE_EXTENSIONS]
    if len(compound) > 1:
        raise SourceError(
            f"{path}: the sample {key} has several images ({_listed(compound)}); "
            f"give the one to train on a plain extension, such as .jpg"
        )
    return parts[compound[0]] if compound else None


def label_of(
    file: BinaryIO, parts: dict[str, Member], path: str, key: str, label_field: str | None
) -> int | str:
    """The label in a sample's members: a class as number or name. Raises SourceError."""
    value: Any = None
    if label_field is None and "cls" in parts:
        value = _data(file, parts["cls"], path, key).decode("utf-8", "replace").strip()
    elif "json" in parts:
        value = _json_label(_data(file, parts["json"], path, key), path, key, label_field)
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if value is None or value == "" or isinstance(value, bool) or not isinstance(value, (int, str)):
        wanted = f"the field {label_field!r}" if label_field else f"one of {', '.join(LABEL_FIELDS)}"
        member = "a .json member" if label_field else "a .cls member, or a .json member"
        raise SourceError(
            f"{path}: the sample {key} has no label (its members: {_listed(parts)}); "
            f"it needs {member} with {wanted}; name another field with --label-field"
        )
    if isinstance(value, int) and not 0 <= value < MAX_CLASSES:
        raise SourceError(
            f"{path}: the label {value} of the sample {key} is no class (0 to {MAX_CLASSES - 1}); "
            f"name the .json field that holds the class with --label-field"
        )
    return value


def _json_label(data: bytes, path: str, key: str, label_field: str | None) -> Any:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: the .json member of the sample {key} is damaged: {error}") from error
    if not isinstance(record, dict):
        return None
    names = LABEL_FIELDS if label_field is None else (label_field,)
    return next((record[name] for name in names if name in record), None)


def _data(file: BinaryIO, member: Member, path: str, key: str) -> bytes:
    if member.size_bytes > _MOST_LABEL_BYTES:
        raise SourceError(
            f"{path}: the label of the sample {key} takes {member.size_bytes} bytes, which is no label: "
            "make the shard again"
        )
    file.seek(member.offset)
    return file.read(member.size_bytes)


def _listed(extensions: Iterable[str]) -> str:
    return ", ".join(f".{name}" for name in extensions)
