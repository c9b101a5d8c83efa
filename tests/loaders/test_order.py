"""The order that reads shard by shard: everything once, from shards in turn, mixed within the buffer."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from throughput.contracts import Work
from throughput.errors import SampleError
from throughput.loaders.order import advised_batches, streamed_batches
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack

SAMPLES, SHARD = 330, 30


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ShardSource:
    """11 shards of 30 samples, about a tenth of which are held out."""
    root = tmp_path_factory.mktemp("order")
    for label in ("a", "b"):
        (root / "images" / label).mkdir(parents=True)
        for number in range(SAMPLES // 2):
            Image.new("L", (8, 8), number).save(root / "images" / label / f"{number:03d}.png")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("THROUGHPUT_CACHE", str(root / "cache"))
        pack(open_source(root / "images"), root / "shards", samples_per_shard=SHARD)
        packed = open_source(Path(root / "shards"))
    assert isinstance(packed, ShardSource)
    assert len(packed.shards) == SAMPLES // SHARD
    return packed


def batches(
    source: ShardSource, epoch: int = 0, shuffle: int = 20, **changes: Any
) -> list[NDArray[np.int64]]:
    return streamed_batches(Work(source, batch_size=16, **changes), source, epoch, shuffle)


def order(source: ShardSource, epoch: int = 0, shuffle: int = 20, **changes: Any) -> list[int]:
    ids = np.concatenate(batches(source, epoch, shuffle, **changes))
    assert ids.dtype == np.int64
    found: list[int] = ids.tolist()
    return found


def test_some_samples_are_held_out(source: ShardSource) -> None:
    assert 10 < len(source.ids("val")) < 100


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("shuffle", [1, 20, 10_000])
@pytest.mark.parametrize("epoch", [0, 5])
def test_every_sample_comes_once_over_all_ranks(
    source: ShardSource, world_size: int, shuffle: int, epoch: int
) -> None:
    orders = [order(source, epoch, shuffle, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(sample for one in orders for sample in one) == source.ids("train").tolist()
    lengths = [len(one) for one in orders]
    assert max(lengths) - min(lengths) <= 1


def test_only_the_last_batch_is_smaller(source: ShardSource) -> None:
    whole, rest = divmod(len(source.ids("train")), 16)
    assert rest
    assert [len(ids) for ids in batches(source)] == [16] * whole + [rest]


def test_more_ranks_than_samples(source: ShardSource) -> None:
    ranks = [batches(source, rank=rank, world_size=1000) for rank in range(1000)]
    assert sorted(int(ids[0]) for found in ranks for ids in found) == source.ids("train").tolist()


@pytest.mark.parametrize("shuffle", [1, 20, 10_000])
def test_the_order_is_a_function_of_seed_epoch_and_rank(source: ShardSource, shuffle: int) -> None:
    first = order(source, 3, shuffle)
    assert order(source, 3, shuffle) == first
    assert order(source, 3, shuffle, workers=5, image_size=32) == first
    assert order(source, 4, shuffle) != first
    assert order(source, 3, shuffle, seed=1) != first
    flat = streamed_batches(Work(source, batch_size=7), source, 3, shuffle)
    assert np.concatenate(flat).tolist() == first


def test_without_a_buffer_shards_are_read_through(source: ShardSource) -> None:
    """Each shard in one stretch, in the order of its file; the shards in another order each epoch."""
    wanted = set(source.ids("train").tolist())
    orders = []
    for epoch in range(2):
        found = order(source, epoch, shuffle=1)
        shards = list(dict.fromkeys(source.shard_of[found].tolist()))
        through = [sample for shard in shards for sample in source.shard_ids(shard).tolist()]
        assert found == [sample for sample in through if sample in wanted]
        orders.append(shards)
    assert sorted(orders[0]) == list(range(len(source.shards)))
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_small_buffer_keeps_samples_near_their_shard(source: ShardSource, rank: int) -> None:
    size = 10
    read = order(source, 2, shuffle=1, rank=rank, world_size=2)
    used = order(source, 2, shuffle=size, rank=rank, world_size=2)
    assert used != read
    read_at = {sample: place for place, sample in enumerate(read)}
    late = np.array([place - read_at[sample] for place, sample in enumerate(used)])
    assert late.min() > -size, "nothing is used before it is in the buffer"
    assert late.min() < -size // 2, "the whole buffer is drawn from"
    # One stays with probability 1 - 1 / size each time: 10 sizes are beyond e**-10.
    assert late.max() < 10 * size
    assert np.median(np.abs(late)) < size


def test_the_buffer_mixes_otherwise_in_each_epoch_and_rank(source: ShardSource) -> None:
    """Where the samples that were read first, second and so on came."""
    moves = set()
    for epoch in range(2):
        for rank in range(3):
            read, used = (order(source, epoch, size, rank=rank, world_size=3) for size in (1, 20))
            moves.add(tuple(used.index(sample) for sample in read[:60]))
    assert len(moves) == 6


def test_a_large_buffer_mixes_all_shards(source: ShardSource) -> None:
    near, far = (
        np.mean([len(set(source.shard_of[ids].tolist())) for ids in batches(source, 0, shuffle)])
        for shuffle in (2, 10_000)
    )
    assert near < 3
    assert far > 7
    mixed = np.array(order(source, 0, 10_000))
    read = np.array(order(source, 0, 1))
    place = np.empty(SAMPLES)
    place[mixed] = np.arange(len(mixed))
    assert abs(np.corrcoef(place[read], np.arange(len(read)))[0, 1]) < 0.25


def test_ranks_read_different_shards(source: ShardSource) -> None:
    """A stretch each of one order: only a shard on a border is read by two ranks."""
    shards = [set(source.shard_of[order(source, 1, rank=rank, world_size=3)].tolist()) for rank in range(3)]
    assert set.union(*shards) == set(range(len(source.shards)))
    assert sum(map(len, shards)) <= len(source.shards) + 2


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("shuffle", [1, 20, 10_000])
def test_the_kernel_is_told_of_samples_as_they_enter_the_buffer(
    source: ShardSource, monkeypatch: pytest.MonkeyPatch, rank: int, shuffle: int
) -> None:
    """In the order of the shards' bytes, each once, before its batch, and no further than the buffer."""
    told: list[int] = []
    monkeypatch.setattr(ShardSource, "advise", lambda _, sample: told.append(sample))
    work = Work(source, batch_size=16, rank=rank, world_size=2)
    expected = order(source, 3, shuffle=1, rank=rank, world_size=2)
    came: list[int] = []
    for ids in advised_batches(work, source, 3, shuffle):
        came += ids.tolist()
        assert told == expected[: len(came) + shuffle]
        assert set(came) <= set(told)
    assert came == order(source, 3, shuffle, rank=rank, world_size=2)
    assert told == expected


def test_a_sample_is_read_ahead_where_it_lies(source: ShardSource, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def record(descriptor: int, offset: int, size: int, advice: int) -> None:
        calls.append((Path(f"/proc/self/fd/{descriptor}").resolve(), offset, size, advice))

    monkeypatch.setattr(os, "posix_fadvise", record)
    source.advise(7)
    shard = source.shards[source.shard_of[7]]
    place = (Path(shard).resolve(), source.offsets[7], source.sizes[7])
    assert calls == [(*place, os.POSIX_FADV_WILLNEED)]


def test_what_cannot_be_read_ahead_is_told_by_who_reads_it(source: ShardSource) -> None:
    gone = replace(source, shards=tuple(f"{shard}.gone" for shard in source.shards))
    gone.advise(0)
    with pytest.raises(SampleError, match="No such file"):
        gone.read(0)
