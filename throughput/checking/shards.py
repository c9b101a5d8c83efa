"""What a tar shard holds, whatever state it is in: its samples, and everything that is not right about it.

Opening a source stops at the first thing that is wrong with a shard. Here the rest of it is looked at too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from throughput.checking.findings import Fault, Place
from throughput.errors import SourceError
from throughput.sources.manifest import PackedShard
from throughput.sources.scan import image_of, key_and_extension, label_of
from throughput.sources.shard_index import open_shard_index, samples_in_index
from throughput.sources.tar import BLOCK_BYTES, Member, next_header, padded, regular_members

MISSING, UNREADABLE, TAR, LOST = "missing", "unreadable", "tar", "samples missing"
NO_IMAGE, LABEL, TWICE = "no image", "label", "key twice"
EMPTY, INDEX, UNLISTED = "empty", "index", "unlisted"
NO_END_MARK = "tar without end mark"
_HERE = "the shard"
"""How the messages of those who read a shard call it, where its path stands beside them."""


class Named(NamedTuple):
    """A shard to be looked at. packed: what the manifest says of it. classes: of the manifest; else None."""

    path: str
    packed: PackedShard | None = None
    classes: int | None = None
    unlisted: bool = False


@dataclass
class Survey:
    """The samples of a shard in the order of the file, and what is wrong with it.

    members: names of the image members. offsets, sizes: where their bytes lie. checksums: (M,) uint32, of
    the index beside it, in the order of the shard when it was packed; None where there is none.
    expected: samples that the manifest or the index names. strays: members that belong to no sample.
    """

    path: str
    members: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    checksums: NDArray[np.uint32] | None = None
    expected: int | None = None
    faults: list[Fault] = field(default_factory=list)
    strays: int = 0
    first_stray: Place | None = None
    has_end_mark: bool = True

    def wrong(self, fault: str, cause: str, key: str | None = None, offset: int | None = None) -> None:
        """Note a fault."""
        self.faults.append(Fault(Place(self.path, key, offset), fault, cause))


class Damage(NamedTuple):
    """A part of a tar that could not be read. offset: where the last whole member ends."""

    offset: int
    cause: str


def survey_shard(named: Named, label_field: str | None = None) -> Survey:
    """Look at every header of a shard, and at the labels."""
    survey = Survey(named.path)
    packed = named.packed
    survey.expected = samples_in_index(named.path) if packed is None else packed.samples
    if named.unlisted:
        survey.wrong(UNLISTED, "it is not in the manifest beside it, so that opening the folder is refused")
    try:
        with open(named.path, "rb") as file:  # noqa: PTH123 - a Path for each of many shards gains nothing
            size_bytes = os.fstat(file.fileno()).st_size
            _Surveyor(survey, file, label_field, named.classes).walk()
            survey.has_end_mark = _has_end_mark(file)
    except FileNotFoundError:
        survey.wrong(MISSING, "the manifest names it, and it is not there")
        return survey
    except OSError as error:
        survey.wrong(UNREADABLE, f"cannot be read: {error.strerror}")
        return survey
    if size_bytes == 0:
        survey.wrong(EMPTY, "the shard is empty")
    elif packed is not None and size_bytes != packed.bytes and not survey.faults:
        survey.wrong(TAR, f"it has {size_bytes} bytes and its manifest says {packed.bytes}")
    _count(survey)
    _find_checksums(survey)
    return survey


def walk(file: BinaryIO) -> Iterator[Member | Damage]:
    """Yield the regular files of a tar, and what lies between them that is damaged."""
    start: int | None = 0
    while start is not None:
        last_end = start
        try:
            for member in regular_members(file, _HERE, start):
                last_end = member.offset + padded(member.size_bytes)
                yield member
            start = None
        except SourceError as error:
            yield Damage(last_end, str(error))
            start = next_header(file, last_end + BLOCK_BYTES)


class _Surveyor:
    """Gathers members that share a key into samples, as ``scan_shard`` does, and goes on after a fault."""

    def __init__(self, survey: Survey, file: BinaryIO, label_field: str | None, classes: int | None) -> None:
        self._survey = survey
        self._file = file
        self._label_field = label_field
        self._classes = classes
        self._keys: set[str] = set()
        self._key = ""
        self._parts: dict[str, Member] = {}

    def walk(self) -> None:
        """Fill the survey."""
        for found in walk(self._file):
            if isinstance(found, Damage):
                self._end_sample()
                so_far = len(self._survey.members)
                self._survey.wrong(TAR, f"{found.cause} (samples before it: {so_far})", offset=found.offset)
                continue
            parted = key_and_extension(found.name)
            if parted is None:
                self._stray(found)
                continue
            key, extension = parted
            if key != self._key:
                self._end_sample()
                self._key = key
            if extension in self._parts:
                self._survey.wrong(TWICE, f"the sample has two .{extension} members", key, found.offset)
            else:
                self._parts[extension] = found
        self._end_sample()

    def _end_sample(self) -> None:
        key, parts = self._key, self._parts
        self._key, self._parts = "", {}
        if not parts:
            return
        first = min(member.offset for member in parts.values())
        if key in self._keys:
            self._survey.wrong(TWICE, "a sample of this key came before", key, first)
        self._keys.add(key)
        try:
            image = image_of(parts, _HERE, key)
        except SourceError as error:
            self._survey.wrong(NO_IMAGE, str(error), key, first)
            return
        if image is not None:
            self._survey.members.append(image.name)
            self._survey.offsets.append(image.offset)
            self._survey.sizes.append(image.size_bytes)
            self._look_at_label(key, parts, first)
        elif "cls" in parts or "json" in parts:
            self._survey.wrong(NO_IMAGE, "the sample has a label but no image", key, first)
        else:
            for member in parts.values():
                self._stray(member)

    def _look_at_label(self, key: str, parts: dict[str, Member], offset: int) -> None:
        try:
            label = label_of(self._file, parts, _HERE, key, self._label_field)
        except SourceError as error:
            self._survey.wrong(LABEL, str(error), key, offset)
            return
        if self._classes is not None and not (isinstance(label, int) and label < self._classes):
            cause = f"the label {label!r} is none of the {self._classes} classes of the manifest"
            self._survey.wrong(LABEL, cause, key, offset)

    def _stray(self, member: Member) -> None:
        self._survey.strays += 1
        if self._survey.first_stray is None:
            self._survey.first_stray = Place(self._survey.path, member.name, member.offset)


def _has_end_mark(file: BinaryIO) -> bool:
    """Whether the last block is zeros: tar files end with two such, and one that was cut has none."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - BLOCK_BYTES))
    return file.read() == bytes(BLOCK_BYTES)


def _count(survey: Survey) -> None:
    """Hold the number of samples against what was packed."""
    reached = len(survey.members)
    if survey.expected is not None and reached != survey.expected:
        survey.wrong(LOST, f"{reached} of the {survey.expected} samples that were packed can be reached")
    elif not reached and not survey.faults:
        survey.wrong(LOST, "the shard holds no sample with an image")


def _find_checksums(survey: Survey) -> None:
    if survey.expected is None or not Path(survey.path).is_file():
        return
    try:
        index = open_shard_index(survey.path, survey.expected)
    except SourceError as error:
        survey.wrong(INDEX, str(error).replace(survey.path, _HERE))
        return
    if index is not None:
        survey.checksums = index.records["checksum"].astype(np.uint32)
