"""Damaged images and shards, through every loader: an error by name, and nothing left running."""

from __future__ import annotations

import gc
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from throughput.contracts import Loader, LoaderFactory, Source, Split, Work
from throughput.errors import LoaderError, SampleError, ThroughputError
from throughput.registry import load_loader
from throughput.sources import FolderSource, ShardSource, open_source
from throughput.sources.pack import pack
from throughput.testing import write_contract_images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No process and no reading thread outlives a loader, even while its error is still held."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    left = [
        process.cmdline()
        for process in psutil.Process().children(recursive=True)
        # multiprocessing's own resource tracker lives as long as this process.
        if process.pid not in before and "resource_tracker" not in " ".join(process.cmdline())
    ]
    assert left == []
    assert [thread for thread in threading.enumerate() if thread.name.startswith("throughput-")] == []


def read_all(factory: LoaderFactory, source: Source, split: Split, epochs: int = 1) -> list[int]:
    """Ids of some epochs through the loader; fixed knobs, so that little is prefetched."""
    work = Work(source, split, image_size=32, batch_size=4, workers=2)
    options = factory.Options()
    prepared = factory.prepare(work, options)
    with factory.open(prepared.work, options) as loader:
        return [
            int(sample) for epoch in range(epochs) for batch in loader.epoch(epoch) for sample in batch.ids
        ]


def truncated(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def without_its_end(data: bytes) -> bytes:
    return data[:-2]


def garbage(data: bytes) -> bytes:
    return b"\x5a" * len(data)


def empty(data: bytes) -> bytes:
    return data[:0]


FAULTS = (truncated, without_its_end, garbage, empty)


def damaged_sample(source: FolderSource, split: Split, fault: Callable[[bytes], bytes]) -> int:
    """Damage one JPEG of the split."""
    sample = next(int(i) for i in source.ids(split)[::-1] if source.path(int(i)).endswith(".JPEG"))
    path = Path(source.path(sample))
    path.write_bytes(fault(path.read_bytes()))
    return sample


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_is_named(
    factory: LoaderFactory, split: Split, fault: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    folder = write_contract_images(tmp_path / "images")
    source = open_source(folder)
    assert isinstance(source, FolderSource)
    sample = damaged_sample(source, split, fault)
    with pytest.raises(SampleError) as caught:
        read_all(factory, open_source(folder), split)
    if factory.name in ("webdataset", "roi"):  # which read a packed copy, whose keys are ids
        assert f"key {sample:09d}." in caught.value.sample
    else:
        assert caught.value.sample == source.path(sample)


def test_a_failed_loader_does_not_harm_the_workers_of_the_next(tmp_path: Path) -> None:
    """Forked workers collect their parent's garbage: what a failed pipeline left must not end in them."""
    folder = write_contract_images(tmp_path / "images")
    source = open_source(folder)
    assert isinstance(source, FolderSource)
    sample = damaged_sample(source, "train", empty)
    whole = Path(source.path(int(source.ids("train")[1]))).read_bytes()
    gc.disable()
    try:
        with pytest.raises(SampleError):
            read_all(load_loader("dali"), open_source(folder), "train")
        live = [held for held in gc.get_objects() if type(held).__name__ == "Pipeline" and held._pipe]
        assert live == []
    finally:
        gc.enable()
    Path(source.path(sample)).write_bytes(whole)
    assert read_all(load_loader("torchvision"), open_source(folder), "train")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("fault", [truncated, garbage])
def test_a_damaged_member_of_a_shard_is_named(
    factory: LoaderFactory, split: Split, fault: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    folder = open_source(write_contract_images(tmp_path / "images"))
    assert isinstance(folder, FolderSource)
    sample = damaged_sample(folder, split, fault)
    pack(open_source(tmp_path / "images"), tmp_path / "shards", samples_per_shard=5)
    source = open_source(tmp_path / "shards")
    assert isinstance(source, ShardSource)
    with pytest.raises(SampleError) as caught:
        read_all(factory, source, split)
    assert caught.value.sample.startswith(source.describe(sample))
    assert str(tmp_path / "shards") in str(caught.value)


def test_a_loader_goes_on_with_another_epoch_after_an_error(factory: LoaderFactory, tmp_path: Path) -> None:
    source = open_source(write_contract_images(tmp_path / "images"))
    assert isinstance(source, FolderSource)
    work = Work(source, image_size=32, batch_size=4, workers=2)
    options = factory.Options()
    prepared = factory.prepare(work, options).work
    with factory.open(prepared, options) as loader:
        victim = int(source.ids("train")[0])
        path = damage_in(prepared.source, victim)
        whole = path.read_bytes()
        place = whole.index(prepared.source.read(victim)) if path.suffix == ".tar" else 0
        path.write_bytes(whole[: place + 2] + bytes(64) + whole[place + 66 :])
        with pytest.raises(SampleError):
            ids_of(loader, 0)
        path.write_bytes(whole)
        assert sorted(ids_of(loader, 1)) == source.ids("train").tolist()


def damage_in(source: Source, sample: int) -> Path:
    """The file that holds a sample."""
    if isinstance(source, ShardSource):
        return Path(source.shards[source.shard_of[sample]])
    assert isinstance(source, FolderSource)
    return Path(source.path(sample))


def ids_of(loader: Loader, epoch: int) -> list[int]:
    return [int(sample) for batch in loader.epoch(epoch) for sample in batch.ids]


@pytest.fixture
def shards(tmp_path: Path) -> ShardSource:
    """The contract's images in shards of five, opened."""
    pack(open_source(write_contract_images(tmp_path / "images")), tmp_path / "shards", samples_per_shard=5)
    source = open_source(tmp_path / "shards")
    assert isinstance(source, ShardSource)
    return source


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_shard_that_was_cut_after_opening_is_named(
    factory: LoaderFactory, split: Split, shards: ShardSource
) -> None:
    sample = int(shards.ids(split)[-1])
    shard = Path(shards.shards[shards.shard_of[sample]])
    cut = int(shards.offsets[sample]) + int(shards.sizes[sample]) // 2
    shard.write_bytes(shard.read_bytes()[:cut])
    with pytest.raises(ThroughputError) as caught:
        read_all(factory, shards, split)
    assert str(shard) in str(caught.value)
    assert isinstance(caught.value, (LoaderError, SampleError))


def test_a_shard_that_was_removed_after_opening_is_named(factory: LoaderFactory, shards: ShardSource) -> None:
    shard = Path(shards.shards[0])
    shard.unlink()
    with pytest.raises(ThroughputError) as caught:
        read_all(factory, shards, "train")
    assert str(shard) in str(caught.value)


def rewrite(shard: Path, change: Callable[[tarfile.TarInfo], tarfile.TarInfo | None]) -> None:
    """Write a shard anew, each member as ``change`` says; None drops it."""
    copy = shard.with_suffix(".new")
    with tarfile.open(shard) as old, tarfile.open(copy, "w", format=tarfile.USTAR_FORMAT) as new:
        for member in old:
            data = old.extractfile(member)
            if (changed := change(member)) is not None:
                new.addfile(changed, data)
    copy.replace(shard)


@pytest.mark.parametrize("change", ["renamed", "dropped"])
def test_a_stream_whose_member_is_gone_names_it(change: str, shards: ShardSource) -> None:
    sample = int(shards.shard_ids(0)[2])
    name = shards.members[sample]

    def altered(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if member.name == name:
            member.name = "another.jpg"
            return member if change == "renamed" else None
        return member

    rewrite(Path(shards.shards[0]), altered)
    with pytest.raises(LoaderError, match="is missing: the shard changed since it was scanned") as caught:
        read_all(load_loader("webdataset"), shards, "train")
    assert shards.describe(sample) in str(caught.value)


def test_a_member_that_moved_is_not_taken_for_another(shards: ShardSource) -> None:
    first = shards.members[int(shards.shard_ids(0)[0])]
    rewrite(Path(shards.shards[0]), lambda member: None if member.name == first else member)
    with pytest.raises(SampleError) as caught:
        read_all(load_loader("torchvision"), shards, "train")
    assert shards.shards[0] in str(caught.value)
