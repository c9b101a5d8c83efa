"""What there is to look at: the samples of a source, numbered, and whole shards that have a digest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from throughput.checking.findings import Fault, Place, Remark, ShardState
from throughput.contracts import Source
from throughput.errors import SampleError
from throughput.sources.folder import FolderSource
from throughput.sources.remote.retrying import is_server_gone


class Piece(NamedTuple):
    """One thing to look at, as it is sent to a worker.

    name: of the file or member. path: None where the source is asked for the sample. size_bytes: None for a
    whole file. has_checksum: whether the CRC-32 of the bytes is wanted. is_shard: its SHA-256 is wanted.
    """

    number: int
    name: str
    path: str | None = None
    offset: int = 0
    size_bytes: int | None = None
    has_checksum: bool = False
    is_shard: bool = False


class Listing(ABC):
    """What there is to look at.

    location: what the user named. fingerprint: changes with the files. samples: how many there are.
    source: what workers ask for samples; None where pieces tell of files. faults, shards, remarks: what was
    seen while it was listed; faults are those of no sample and no shard.
    """

    location: str
    fingerprint: str
    samples: int
    source: Source | None = None
    faults: tuple[Fault, ...] = ()
    shards: tuple[ShardState, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """How many pieces there are."""

    @abstractmethod
    def piece(self, number: int) -> Piece:
        """What to look at, 0 <= number < len."""

    @abstractmethod
    def place(self, number: int) -> Place:
        """Where it lies."""

    def is_as_packed(self, number: int, digest: int | str) -> bool:  # noqa: ARG002 - a listing may keep none
        """Whether the CRC-32 of a sample, or the SHA-256 of a shard, is what was noted."""
        return True


class FolderListing(Listing):
    """The files of class folders."""

    def __init__(self, source: FolderSource, faults: tuple[Fault, ...] = ()) -> None:
        self.faults = faults
        self.location = source.location
        self.fingerprint = source.fingerprint
        self.samples = len(source.names)
        self._source = source

    def __len__(self) -> int:
        return self.samples

    def piece(self, number: int) -> Piece:
        path = self._source.path(number)
        return Piece(number, path, path)

    def place(self, number: int) -> Place:
        return Place(self._source.path(number))


class SourceListing(Listing):
    """The samples of any source, which is asked for each."""

    def __init__(self, source: Source) -> None:
        self.location = source.location
        self.fingerprint = source.fingerprint
        self.samples = len(source.labels)
        self.source = source

    def __len__(self) -> int:
        return self.samples

    def piece(self, number: int) -> Piece:
        return Piece(number, "", has_checksum=self._checksum(number) is not None)

    def place(self, number: int) -> Place:
        assert self.source is not None
        return Place(self.source.describe(number))

    def is_as_packed(self, number: int, digest: int | str) -> bool:
        return self._checksum(number) in (None, digest)

    def _checksum(self, number: int) -> int | None:
        """The CRC-32 that was kept when the sample was packed; None where none was, or it cannot be read."""
        assert self.source is not None
        try:
            kept = self.source.kept(number)
        except SampleError as error:
            if is_server_gone(error):
                raise
            return None
        return None if kept is None else kept.checksum
