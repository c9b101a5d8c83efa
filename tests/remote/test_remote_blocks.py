"""The cache of blocks is bounded, forgets what was not used for long, and hands out nothing broken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from throughput.contracts import Source
from throughput.errors import OptionError
from throughput.quantities import parse_bytes, parse_rate
from throughput.sources import open_source
from throughput.sources.ahead import ids_told_ahead, told_ahead
from throughput.sources.remote.blocks import (
    BLOCK_BYTES,
    LEAST_CACHE_BYTES,
    BlockCache,
    block_bytes,
    blocks_of,
)
from throughput.sources.remote.journal import note_hits, note_request, read_journal
from throughput.sources.remote.stores import RemoteFile
from throughput.testing import write_contract_images

FILE = RemoteFile("http://host/a.tar", 1000 * BLOCK_BYTES + 7, '"1"')
Write = Callable[[int], None]


@pytest.fixture
def cache(tmp_path: Path) -> BlockCache:
    return BlockCache(str(tmp_path), LEAST_CACHE_BYTES)


@pytest.fixture
def write(cache: BlockCache) -> Write:
    def one(block: int) -> None:
        with cache.claimed(FILE, range(block, block + 1)) as claimed:
            assert claimed == range(block, block + 1)
            cache.write(FILE, block, bytes([block % 256]) * block_bytes(FILE, block))

    return one


def kept(cache: BlockCache) -> list[int]:
    return [block for block in range(1001) if cache.has(FILE, block)]


def test_a_block_is_read_in_part(cache: BlockCache, write: Write) -> None:
    write(1000)
    assert cache.read(FILE, 1000, 2, 5) == bytes([1000 % 256]) * 3
    assert cache.read(FILE, 999, 0, 1) is None
    assert not list(Path(cache.folder).rglob("*.claim"))


def test_blocks_of_another_version_are_others(cache: BlockCache, write: Write) -> None:
    write(0)
    assert cache.has(FILE, 0)
    assert not cache.has(RemoteFile(FILE.address, FILE.size_bytes, '"2"'), 0)


def test_the_limit_is_kept_and_the_oldest_go_first(cache: BlockCache, write: Write) -> None:
    room = LEAST_CACHE_BYTES // BLOCK_BYTES
    for block in range(room):
        write(block)
        path = next(Path(cache.folder).rglob(f"{block:07x}"))
        os.utime(path, (block + 1, block + 1))
    cache.read(FILE, 0, 0, 1)  # used now
    assert kept(cache) == list(range(room))
    write(room)
    left = kept(cache)
    assert len(left) * BLOCK_BYTES <= 0.9 * LEAST_CACHE_BYTES
    assert {0, room} <= set(left)
    assert left[1:] == list(range(left[1], room + 1))


def test_a_block_that_is_dropped_while_it_is_read_is_read_to_its_end(cache: BlockCache, write: Write) -> None:
    write(3)
    path = next(Path(cache.folder).rglob("0000003"))
    with path.open("rb") as opened:
        cache.drop(FILE, 3)
        assert not path.exists()
        assert opened.read() == bytes([3]) * BLOCK_BYTES


def test_nobody_claims_what_is_claimed_or_here(cache: BlockCache, write: Write) -> None:
    write(5)
    with cache.claimed(FILE, range(2, 9)) as claimed:
        assert claimed == range(2, 5)
        with cache.claimed(FILE, range(0, 9)) as others:
            assert others == range(0, 2)
    with cache.claimed(FILE, range(2, 3)) as again:
        assert again == range(2, 3)


def test_bytes_lie_in_blocks() -> None:
    assert blocks_of(0, 1) == range(1)
    assert blocks_of(BLOCK_BYTES - 1, BLOCK_BYTES + 1) == range(2)
    assert blocks_of(BLOCK_BYTES, 2 * BLOCK_BYTES) == range(1, 2)


def test_a_journal_adds_up(tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    assert read_journal(journal).requests == 0
    for begin, end, again in ((1.0, 2.0, False), (1.5, 3.0, True), (5.0, 6.0, False)):
        note_request(journal, begin, end, 10, again=again)
    note_hits(journal, 4)
    told = read_journal(journal)
    assert (told.bytes_read, told.requests, told.retries, told.hits, told.seconds) == (30, 3, 1, 4, 3.0)


class Far(Source):
    """A source that notes what it is told."""

    def __init__(self, near: Source) -> None:
        self.labels, self._near = near.labels, near
        self.told: list[int] = []

    def ahead_bytes(self) -> int:
        return 3 * self.encoded_bytes() // len(self.labels)

    def expect(self, ids: np.ndarray) -> None:
        self.told += ids.tolist()

    def ids(self, split):  # type: ignore[no-untyped-def]
        return self._near.ids(split)

    def read(self, sample_id: int) -> bytes:
        return self._near.read(sample_id)

    def describe(self, sample_id: int) -> str:
        return self._near.describe(sample_id)

    def encoded_bytes(self) -> int:
        return self._near.encoded_bytes()

    def files(self) -> tuple[Path, ...]:
        return ()


def test_a_far_source_hears_of_samples_before_they_are_handed_out(tmp_path: Path) -> None:
    near = open_source(write_contract_images(tmp_path / "images"))
    far = Far(near)
    ids = np.arange(len(near.labels))
    handed = []
    for sample in told_ahead(far, ids.tolist(), lambda sample: np.array([sample])):
        handed.append(sample)
        assert len(far.told) >= min(len(handed) + 3, len(ids))
        assert len(far.told) <= len(handed) + 5
    assert handed == far.told == ids.tolist()
    assert list(ids_told_ahead(far, [ids[:5], ids[5:]])) == ids.tolist()


def test_a_near_source_costs_nothing(tmp_path: Path) -> None:
    near = open_source(write_contract_images(tmp_path / "images"))
    items = iter([1, 2])
    assert told_ahead(near, items, lambda _: pytest.fail("asked")) is items


@pytest.mark.parametrize(
    ("text", "amount"),
    [("20GB", 20e9), ("1.5 MB", 1.5e6), ("64MiB", 2**26), ("3kb", 3000), ("7", 7), ("1TiB", 2**40)],
)
def test_amounts_of_bytes(text: str, amount: float) -> None:
    assert parse_bytes("--remote-cache", text) == amount
    assert parse_rate("--network-limit", f"{text}/s") == amount


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1XB", "1GBs", "20MB/s"])
def test_no_amounts_of_bytes(text: str) -> None:
    with pytest.raises(OptionError, match="--remote-cache must be an amount"):
        parse_bytes("--remote-cache", text)
