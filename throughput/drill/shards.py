"""Faults of the files that samples lie in: of whole tar shards, and of single files of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from throughput.sources.scan import key_of, scan_shard
from throughput.sources.tar import BLOCK_BYTES

_GARBAGE_BYTES = 4096


class Place(NamedTuple):
    """Where an encoded image lies in its shard, in bytes. id: of its sample."""

    id: int
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class ShardFault:
    """What may be wrong with a tar.

    damage: (its bytes, its samples in the order of the file, random stream) -> other bytes; None: gone.
    """

    name: str
    about: str
    damage: Callable[[bytes, Sequence[Place], np.random.Generator], bytes | None]


@dataclass(frozen=True)
class FileFault:
    """What stands in an image's place. when: before the source is opened, or between opening and reading."""

    name: str
    about: str
    stand_in: Literal["nothing", "folder", "dangling link"]
    when: Literal["at rest", "once open"]


def places_of(shard: Path) -> tuple[Place, ...]:
    """The samples of a shard that ``pack`` wrote, whose keys are their ids."""
    scan = scan_shard(str(shard), None)
    return tuple(
        Place(int(key_of(member)), offset, size)
        for member, offset, size in zip(scan.members, scan.offsets, scan.sizes, strict=True)
    )


def _torn(tar: bytes, places: Sequence[Place], rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as every fault
    one = places[len(places) // 2]
    return tar[: one.offset + one.size_bytes // 2]


def _truncated(tar: bytes, places: Sequence[Place], rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as above
    return tar[: places[len(places) // 2].offset - BLOCK_BYTES]


def _garbage(tar: bytes, places: Sequence[Place], rng: np.random.Generator) -> bytes:
    begin = places[len(places) // 2].offset - BLOCK_BYTES
    return tar[:begin] + rng.bytes(min(_GARBAGE_BYTES, len(tar) - begin)) + tar[begin + _GARBAGE_BYTES :]


def _header(tar: bytes, places: Sequence[Place], rng: np.random.Generator) -> bytes:
    """One byte of a header's name field: its checksum tells."""
    place = places[len(places) // 2].offset - BLOCK_BYTES + int(rng.integers(9))
    return tar[:place] + bytes([tar[place] ^ 0x15]) + tar[place + 1 :]


def _missing(tar: bytes, places: Sequence[Place], rng: np.random.Generator) -> None:  # noqa: ARG001 - as above
    return None


def _replaced(tar: bytes, places: Sequence[Place], rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as above
    """A sound tar without the first sample: all others lie elsewhere."""
    if len(places) < 2:
        return bytes(2 * BLOCK_BYTES)
    return tar[places[1].offset - BLOCK_BYTES :]


SHARD_FAULTS = (
    ShardFault("shard-torn", "a tar that ends within an image", _torn),
    ShardFault("shard-truncated", "a tar that ends between two samples", _truncated),
    ShardFault("shard-garbage", "4 KiB of random bytes in the middle of a tar", _garbage),
    ShardFault("shard-header", "a damaged header in the middle of a tar", _header),
    ShardFault("shard-missing", "a tar that is gone", _missing),
    ShardFault("shard-replaced", "another tar of another size in a tar's place", _replaced),
)

FILE_FAULTS = (
    FileFault("dangling-link", "a link to nothing in an image's place", "dangling link", "at rest"),
    FileFault("removed", "an image that is removed once the source is open", "nothing", "once open"),
    FileFault("folder", "a folder in an image's place once the source is open", "folder", "once open"),
)
