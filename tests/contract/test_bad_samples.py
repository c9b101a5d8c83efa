"""Bad samples, through every loader: left out or replaced, always told by name, and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from throughput.contracts import Fault, LoaderFactory, OnError, Resumable, Source, Split, Work
from throughput.errors import SampleError, ThroughputError, TooManyErrorsError
from throughput.registry import load_loader
from throughput.resuming import merged
from throughput.sources import FolderSource, ShardSource, open_source
from throughput.sources.pack import pack
from throughput.testing import write_contract_images

DAMAGES: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: data[: len(data) * 2 // 3],
    lambda data: b"\x5a" * len(data),
    lambda data: data[:0],
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))


class Epoch(NamedTuple):
    """What came. images, labels: by id, of good samples. stand_ins: (label, image) of each filler."""

    sizes: list[int]
    images: dict[int, NDArray[np.uint8]]
    labels: dict[int, int]
    stand_ins: list[tuple[int, NDArray[np.uint8]]]
    faults: list[Fault]


def run(
    factory: LoaderFactory,
    source: Source,
    on_error: OnError = "raise",
    split: Split = "train",
    batch_size: int = 4,
    max_errors: int = 100,
    epoch: int = 0,
) -> Epoch:
    work = Work(
        source,
        split,
        image_size=32,
        batch_size=batch_size,
        workers=2,
        on_error=on_error,
        max_errors=max_errors,
    )
    options = factory.Options()
    came = Epoch([], {}, {}, [], [])
    with factory.open(factory.prepare(work, options).work, options) as loader:
        for batch in loader.epoch(epoch):
            came.sizes.append(len(batch.ids))
            came.faults.extend(loader.take_faults())
            for sample, label, image in zip(
                batch.ids.tolist(), batch.labels.tolist(), batch.images.numpy().copy(), strict=True
            ):
                if sample == -1:
                    came.stand_ins.append((label, image))
                else:
                    assert sample not in came.images
                    came.images[sample], came.labels[sample] = image, label
        came.faults.extend(loader.take_faults())
    return came


class Damaged(NamedTuple):
    """The same images, whole and with bad ones. bad: their ids, in train and in val."""

    whole: Path
    damaged: Path
    bad: dict[Split, list[int]]


@pytest.fixture
def folders(tmp_path: Path) -> Damaged:
    whole, damaged = (write_contract_images(tmp_path / name) for name in ("whole", "damaged"))
    source = open_source(damaged)
    assert isinstance(source, FolderSource)
    bad: dict[Split, list[int]] = {"train": [], "val": []}
    for split, damages in (("train", DAMAGES), ("val", DAMAGES[:1])):
        jpegs = [i for i in source.ids(split).tolist() if source.path(i).endswith(".JPEG")]
        for sample, damage in zip(jpegs[len(jpegs) > 5 :: 2], damages, strict=False):
            path = Path(source.path(sample))
            path.write_bytes(damage(path.read_bytes()))
            bad[split].append(sample)
    return Damaged(whole, damaged, bad)


@pytest.mark.parametrize("split", ["train", "val"])
def test_skipped_samples_are_told_and_the_rest_is_unchanged(
    factory: LoaderFactory, split: Split, folders: Damaged
) -> None:
    sound = run(factory, open_source(folders.whole), split=split)
    source = open_source(folders.damaged)
    came = run(factory, source, "skip", split)
    bad = folders.bad[split]
    assert bad
    assert sorted(fault.id for fault in came.faults) == bad
    assert sorted(came.images) == sorted(set(source.ids(split).tolist()) - set(bad))
    for fault in came.faults:
        assert source.describe(fault.id) in fault.sample
        assert fault.cause
    for sample, image in came.images.items():
        assert np.array_equal(image, sound.images[sample])
        assert came.labels[sample] == sound.labels[sample]
    assert came.stand_ins == []


def test_stand_ins_are_filler_and_batches_keep_their_size(factory: LoaderFactory, folders: Damaged) -> None:
    sound = run(factory, open_source(folders.whole))
    came = run(factory, open_source(folders.damaged), "substitute")
    assert came.sizes == sound.sizes
    assert len(came.stand_ins) == len(folders.bad["train"])
    assert sorted(fault.id for fault in came.faults) == folders.bad["train"]
    for label, image in came.stand_ins:
        shown = [sample for sample, good in sound.images.items() if np.array_equal(good, image)]
        assert [sound.labels[sample] for sample in shown] == [label]


def test_every_epoch_tells_them_again(factory: LoaderFactory, folders: Damaged) -> None:
    work = Work(
        open_source(folders.damaged), image_size=32, batch_size=4, workers=2, on_error="skip", max_errors=3
    )
    options = factory.Options()
    with factory.open(factory.prepare(work, options).work, options) as loader:
        for epoch in range(3):
            assert sum(len(batch.ids) for batch in loader.epoch(epoch)) == len(work.source.ids("train")) - 3
            assert sorted(fault.id for fault in loader.take_faults()) == folders.bad["train"]


@pytest.mark.parametrize("on_error", ["skip", "substitute"])
def test_too_many_of_them_end_the_epoch(factory: LoaderFactory, on_error: OnError, folders: Damaged) -> None:
    with pytest.raises(TooManyErrorsError, match=r"more than 2 samples of an epoch are bad \(--max-errors\)"):
        run(factory, open_source(folders.damaged), on_error, max_errors=2)


class Parts:
    """Epoch 0 of a loader in parts, which are read up to a bad sample or to the end."""

    def __init__(self, factory: LoaderFactory, source: Source) -> None:
        self._factory = factory
        self._options = factory.Options()
        self._work = Work(source, image_size=32, batch_size=1, workers=1, on_error="substitute")
        self.told = 0

    def read(self, state: Mapping[str, Any] | None, *, to_the_end: bool, **changes: Any) -> dict[str, Any]:
        """The state after a part, of work with some changes."""
        work = self._factory.prepare(replace(self._work, **changes), self._options).work
        with self._factory.open(work, self._options) as loader:
            if not isinstance(loader, Resumable):
                pytest.skip("this loader does not tell what it has delivered")
            for _ in range(0 if state is None else 2):  # the second time changes nothing
                loader.load_state_dict(state)
            for _ in loader.epoch(0):
                told = len(loader.take_faults())
                self.told += told
                if told and not to_the_end:
                    break
            self.told += len(loader.take_faults())
            return loader.state_dict()


@pytest.fixture
def parts(factory: LoaderFactory, folders: Damaged) -> Parts:
    return Parts(factory, open_source(folders.damaged))


def test_the_limit_is_an_epochs_in_however_many_parts_it_is_read(parts: Parts) -> None:
    first = parts.read(None, to_the_end=False)
    assert first["bad_of_rank"] == parts.told in (1, 2)
    last = parts.read(first, to_the_end=True, max_errors=3)
    assert last["bad_of_rank"] == parts.told == 3
    with pytest.raises(TooManyErrorsError, match="more than 2 samples of an epoch are bad"):
        parts.read(first, to_the_end=True, max_errors=2)
    assert parts.read(last, to_the_end=True, max_errors=2) == last, "nothing is left, and nothing of it bad"


def test_no_rank_reaches_the_limit_by_what_another_met(parts: Parts) -> None:
    states = [parts.read(None, to_the_end=True, rank=rank, world_size=2, max_errors=3) for rank in range(2)]
    bad = [state["bad_of_rank"] for state in states]
    assert sum(bad) == parts.told == 3
    whole = merged(states)
    assert (whole["bad_of_all"], whole["bad_of_rank"]) == (max(bad), 0)
    assert parts.read(whole, to_the_end=True, max_errors=max(bad))["bad_of_all"] == max(bad)


def test_a_batch_of_bad_samples_alone_is_left_out(factory: LoaderFactory, folders: Damaged) -> None:
    came = run(factory, open_source(folders.damaged), "skip", batch_size=1)
    assert set(came.sizes) == {1}
    assert sorted(fault.id for fault in came.faults) == folders.bad["train"]


def test_a_batch_of_bad_samples_alone_shows_an_earlier_one(folders: Damaged) -> None:
    source = open_source(folders.damaged)
    came = run(load_loader("torchvision"), source, "substitute", batch_size=1, epoch=1)
    told = len(came.images) + len(came.stand_ins)
    assert len(came.sizes) == told
    # Where the very first batch is bad there is nothing yet to show.
    assert told >= len(source.ids("train")) - len(folders.bad["train"])
    assert len(came.faults) == len(folders.bad["train"])


@pytest.fixture
def packed(tmp_path: Path) -> ShardSource:
    pack(open_source(write_contract_images(tmp_path / "images")), tmp_path / "shards", samples_per_shard=5)
    source = open_source(tmp_path / "shards")
    assert isinstance(source, ShardSource)
    return source


def flip_a_bit(source: ShardSource, sample: int) -> None:
    """In the middle of the image, where JPEGs have no checksum."""
    shard = Path(source.shards[source.shard_of[sample]])
    data = bytearray(shard.read_bytes())
    data[int(source.offsets[sample]) + int(source.sizes[sample]) // 2] ^= 0x10
    shard.write_bytes(data)


def test_a_flipped_bit_of_a_packed_image_is_found_by_its_checksum(
    factory: LoaderFactory, packed: ShardSource
) -> None:
    sample = int(packed.ids("train")[2])
    flip_a_bit(packed, sample)
    with pytest.raises(SampleError, match=r"not those that were packed \(CRC-32\)") as caught:
        run(factory, packed)
    assert caught.value.sample.startswith(packed.describe(sample))
    came = run(factory, packed, "skip")
    assert [fault.id for fault in came.faults] == [sample]
    assert sorted(came.images) == sorted(set(packed.ids("train").tolist()) - {sample})


def test_a_shard_without_checksums_must_stay_as_it_was_scanned(
    factory: LoaderFactory, packed: ShardSource
) -> None:
    for kept in Path(packed.shards[0]).parent.glob("*.npy"):
        kept.unlink()
    source = open_source(packed.location)
    assert isinstance(source, ShardSource)
    sample = int(source.ids("train")[2])
    flip_a_bit(source, sample)
    if factory.name == "roi":  # has what no index knows packed anew, and finds it changed when it does
        with pytest.raises(ThroughputError, match="changed since it was scanned"):
            run(factory, source)
        return
    of_shard = set(source.shard_ids(int(source.shard_of[sample])).tolist()) & set(
        source.ids("train").tolist()
    )
    came = run(factory, source, "skip")
    assert {fault.id for fault in came.faults} == of_shard
    assert all("changed since it was scanned" in fault.cause for fault in came.faults)


@pytest.mark.parametrize("on_error", ["skip", "substitute"])
def test_a_shard_that_is_gone_takes_its_samples_and_no_others(
    factory: LoaderFactory, on_error: OnError, packed: ShardSource
) -> None:
    Path(packed.shards[1]).unlink()
    gone = set(packed.shard_ids(1).tolist()) & set(packed.ids("train").tolist())
    came = run(factory, packed, on_error)
    assert {fault.id for fault in came.faults} == gone
    assert set(came.images) == set(packed.ids("train").tolist()) - gone


def test_a_header_damaged_in_mid_shard_loses_nothing_that_can_be_read(
    factory: LoaderFactory, packed: ShardSource
) -> None:
    sample = int(packed.shard_ids(0)[2])
    shard = Path(packed.shards[0])
    data = bytearray(shard.read_bytes())
    header = int(packed.offsets[sample]) - 512
    data[header : header + 512] = b"\xff" * 512
    shard.write_bytes(data)
    came = run(factory, packed, "skip")
    assert came.faults == []
    assert sorted(came.images) == packed.ids("train").tolist()


@pytest.mark.parametrize("changes", [{"on_error": "ignore"}, {"max_errors": -1}])
def test_other_values_are_refused(changes: dict[str, object], packed: ShardSource) -> None:
    with pytest.raises(ThroughputError, match=r"--(on-error|max-errors)"):
        replace(Work(packed), **changes)  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize("on_error", ["skip", "substitute"])
def test_a_bad_sample_of_what_was_delivered_does_not_come_again(
    factory: LoaderFactory, folders: Damaged, on_error: OnError
) -> None:
    source = open_source(folders.damaged)
    work = Work(source, image_size=32, batch_size=4, workers=2, on_error=on_error)
    options = factory.Options()
    work = factory.prepare(work, options).work
    ids: list[int] = []
    bad: list[int] = []
    with factory.open(work, options) as loader:
        assert isinstance(loader, Resumable)
        batches = loader.epoch(0)
        while not bad:
            ids += next(batches).ids.tolist()
            bad += [fault.id for fault in loader.take_faults()]
        state = loader.state_dict()
    with factory.open(work, options) as loader:
        assert isinstance(loader, Resumable)
        loader.load_state_dict(state)
        for batch in loader.epoch(0):
            ids += batch.ids.tolist()
        bad += [fault.id for fault in loader.take_faults()]
    assert sorted(bad) == sorted(folders.bad["train"])
    assert sorted(sample for sample in ids if sample >= 0) == sorted({*source.ids("train").tolist()} - {*bad})


def test_a_damaged_index_concerns_the_samples_of_its_shard(
    factory: LoaderFactory, packed: ShardSource
) -> None:
    Path(packed.shards[0]).with_suffix(".samples.npy").write_bytes(b"damaged")
    of_shard = set(packed.shard_ids(0).tolist()) & set(packed.ids("train").tolist())
    with pytest.raises(SampleError, match="pack the images again"):
        run(factory, packed)
    came = run(factory, packed, "skip")
    assert {fault.id for fault in came.faults} == of_shard
    assert set(came.images) == set(packed.ids("train").tolist()) - of_shard
