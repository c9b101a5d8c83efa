"""Runs of shards: equal shares for any number of readers, each sample in one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from throughput.contracts import Split, Work
from throughput.errors import OptionError, SourceError
from throughput.loaders.tarshards import (
    WebDatasetLoaderFactory,
    WebDatasetOptions,
    epoch_runs,
    read_run,
    reader_runs,
)
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack
from throughput.testing import write_contract_images


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardSource]:
    root = tmp_path_factory.mktemp("tarshards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THROUGHPUT_CACHE", str(root / "cache"))
        pack(open_source(write_contract_images(root / "images")), root / "shards", samples_per_shard=4)
        opened = open_source(root / "shards")
        assert isinstance(opened, ShardSource)
        yield opened


def work_for(source: ShardSource, split: Split = "train", **changes: int) -> Work:
    return replace(Work(source, split, image_size=32, batch_size=4, workers=2), **changes)


def ids_of(source: ShardSource, split: Split, epoch: int) -> list[int]:
    return [int(sample) for run in epoch_runs(work_for(source, split), source, epoch) for sample in run.ids]


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_epochs_runs_hold_the_split_once(source: ShardSource, split: Split) -> None:
    for epoch in range(3):
        assert sorted(ids_of(source, split, epoch)) == source.ids(split).tolist()


def test_shards_come_in_another_order_in_other_epochs_and_seeds_but_not_in_val(source: ShardSource) -> None:
    orders = [[run.shard for run in epoch_runs(work_for(source), source, epoch)] for epoch in range(4)]
    assert len({tuple(order) for order in orders}) > 1
    assert [run.shard for run in epoch_runs(work_for(source), source, 2)] == orders[2]
    others = [
        [run.shard for run in epoch_runs(work_for(source, seed=seed), source, 0)] for seed in range(1, 4)
    ]
    assert any(order != orders[0] for order in others)
    assert ids_of(source, "val", 0) == ids_of(source, "val", 1)


@pytest.mark.parametrize("readers", [1, 2, 3, 7, 24, 25, 100])
def test_readers_share_equally_and_each_sample_goes_to_one(source: ShardSource, readers: int) -> None:
    runs = epoch_runs(work_for(source), source, 1)
    shares = [
        [int(sample) for run in reader_runs(runs, reader, readers) for sample in run.ids]
        for reader in range(readers)
    ]
    assert list(chain.from_iterable(shares)) == [int(sample) for run in runs for sample in run.ids]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_run_is_read_as_the_source_reads_it(source: ShardSource) -> None:
    for run in epoch_runs(work_for(source), source, 0):
        came = list(read_run(source, run))
        assert [sample for sample, _ in came] == run.ids.tolist()
        assert all(data == source.read(sample) for sample, data in came)


def epoch_of(source: ShardSource, epoch: int, options: WebDatasetOptions, **changes: int) -> list[int]:
    with WebDatasetLoaderFactory().open(work_for(source, **changes), options) as loader:
        return [int(sample) for batch in loader.epoch(epoch) for sample in batch.ids]


def test_the_buffer_shuffles_within_shards_and_one_keeps_their_order(source: ShardSource) -> None:
    streamed = epoch_of(source, 0, WebDatasetOptions(shuffle=1), workers=1)
    assert streamed == ids_of(source, "train", 0)
    shuffled = epoch_of(source, 0, WebDatasetOptions(shuffle=1000), workers=1)
    assert shuffled != streamed
    assert sorted(shuffled) == sorted(streamed)


def test_more_workers_than_samples_still_deliver_each_once(source: ShardSource) -> None:
    work = work_for(source, "val", workers=len(source.ids("val")) + 2)
    with WebDatasetLoaderFactory().open(work, WebDatasetOptions()) as loader:
        ids = [int(sample) for batch in loader.epoch(0) for sample in batch.ids]
    assert sorted(ids) == source.ids("val").tolist()


def test_a_source_that_is_not_in_shards_must_be_prepared(tmp_path: Path) -> None:
    folder = open_source(write_contract_images(tmp_path / "images", 2))
    with (
        pytest.raises(SourceError, match=r"is not in shards: call prepare\(\) first"),
        WebDatasetLoaderFactory().open(Work(folder, batch_size=1), WebDatasetOptions()),
    ):
        pass


def test_shards_are_read_where_they_lie_and_a_folder_is_packed_once(
    source: ShardSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    factory, options = WebDatasetLoaderFactory(), WebDatasetOptions()
    as_it_lies = factory.prepare(work_for(source), options)
    assert as_it_lies.work.source is source
    assert (as_it_lies.seconds, as_it_lies.bytes) == (0, 0)
    folder = Work(open_source(write_contract_images(tmp_path / "images", 3)), batch_size=1)
    first, again = (factory.prepare(folder, options) for _ in range(2))
    assert first.seconds > 0
    assert first.bytes >= folder.source.encoded_bytes()
    assert again.seconds == 0
    assert again.work.source.labels.tolist() == folder.source.labels.tolist()


def test_the_buffer_must_hold_something() -> None:
    with pytest.raises(OptionError, match="shuffle must be 1 or more, got 0"):
        WebDatasetOptions(shuffle=0)
