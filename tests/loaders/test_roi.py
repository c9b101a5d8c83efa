"""The loader of regions: what it decodes, what it prepares, what its options do, and how it fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from throughput import open_loader
from throughput.contracts import Batch, Source, Split, Work
from throughput.errors import CacheError, LoaderError, OptionError, RoomError, SampleError, SourceError
from throughput.loaders.region_dali import dali_loader
from throughput.loaders.roi import RoiOptions
from throughput.measure.feed import Feed
from throughput.registry import load_loader
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack
from throughput.testing import write_contract_images

ROI = load_loader("roi")
STREAM = RoiOptions(order="stream", shuffle=4)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Source:
    return open_source(write_contract_images(tmp_path / "images"))


@pytest.fixture
def packed(tmp_path: Path, folder: Source) -> ShardSource:
    """The contract's images with the narrowest restart intervals."""
    pack(folder, tmp_path / "packed", samples_per_shard=7, growth=1.0)
    source = open_source(tmp_path / "packed")
    assert isinstance(source, ShardSource)
    return source


def work_over(source: Source, **changes: object) -> Work:
    settings = {"image_size": 32, "batch_size": 8, "workers": 2} | changes
    return Work(source, **settings)  # type: ignore[arg-type] # by name


def pixels(work: Work, options: RoiOptions, epochs: int = 1) -> dict[tuple[int, int], torch.Tensor]:
    """Each sample's pixels in each epoch."""
    with ROI.open(work, options) as loader:
        return {
            (epoch, int(sample)): image.clone()
            for epoch in range(epochs)
            for batch in loader.epoch(epoch)
            for sample, image in zip(batch.ids, batch.images, strict=True)
        }


def same(one: dict[tuple[int, int], torch.Tensor], other: dict[tuple[int, int], torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_folder_is_packed_once_with_restart_intervals(folder: Source) -> None:
    first = ROI.prepare(work_over(folder), RoiOptions())
    again = ROI.prepare(work_over(folder), RoiOptions())
    assert isinstance(first.work.source, ShardSource)
    assert first.work.source.growth is not None
    assert first.seconds > 0 < first.bytes
    assert again.seconds == 0
    assert again.folder == first.folder


def test_shards_that_were_packed_with_intervals_are_read_as_they_are(packed: ShardSource) -> None:
    prepared = ROI.prepare(work_over(packed), RoiOptions())
    assert prepared.work.source is packed
    assert (prepared.folder, prepared.warning) == (None, None)


def test_some_shards_of_a_packing_are_read_as_they_are(tmp_path: Path, packed: ShardSource) -> None:
    assert packed.growth is not None
    some = open_source(f"{tmp_path}/packed/shard-{{000000..000001}}.tar")
    prepared = ROI.prepare(work_over(some), RoiOptions())
    assert prepared.work.source is some
    assert (prepared.folder, prepared.warning) == (None, None)
    assert pixels(prepared.work, RoiOptions())


def test_a_lost_index_of_any_shard_is_told(tmp_path: Path, packed: ShardSource) -> None:
    lost = tmp_path / "packed" / "shard-000002.intervals.npy"
    lost.unlink()
    warning = ROI.prepare(work_over(packed), RoiOptions()).warning
    assert warning is not None
    assert re.search(r"beside 1 of 4 shards of .*packed is gone \(.*shard-000002.tar\)", warning)


def test_what_has_no_room_in_the_cache_is_decoded_whole(
    folder: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("throughput.sources.conversion.CACHE_LIMIT_BYTES", 1)
    prepared = ROI.prepare(work_over(folder), RoiOptions())
    assert prepared.warning is not None
    told = r"decodes images without restart intervals whole, .*run: throughput pack --restart .* OUT"
    assert re.search(told, prepared.warning)
    assert prepared.work.source is folder
    assert len(pixels(prepared.work, RoiOptions())) == len(folder.ids("train"))
    with pytest.raises(RoomError, match="run: throughput pack --restart"):
        ROI.prepare(work_over(folder), RoiOptions(order="stream"))


def test_a_cache_that_others_may_write_to_is_refused_and_not_taken_for_a_full_one(
    folder: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("THROUGHPUT_CACHE", str(shared))
    with pytest.raises(CacheError, match=r"others may write to .*shared"):
        ROI.prepare(work_over(folder), RoiOptions())


def test_reading_shard_by_shard_needs_shards(folder: Source) -> None:
    stream = RoiOptions(order="stream", prepare=False)
    with pytest.raises(OptionError, match="run throughput pack --restart") as caught:
        pixels(work_over(folder), stream)
    assert folder.location in str(caught.value)
    prepared = ROI.prepare(work_over(folder), stream)
    assert isinstance(prepared.work.source, ShardSource)
    assert len(pixels(prepared.work, stream)) == len(folder.ids("train"))
    assert ROI.prepare(work_over(folder), RoiOptions(prepare=False)).work.source is folder


def test_processes_threads_and_whole_images_give_the_same_pixels(packed: ShardSource) -> None:
    work = work_over(packed)
    expected = pixels(work, RoiOptions(), epochs=2)
    for options in (RoiOptions(processes=2), RoiOptions(region=False), RoiOptions(order="stream", shuffle=4)):
        assert same(pixels(work, options, epochs=2), expected)


@pytest.mark.parametrize("options", [STREAM, replace(STREAM, processes=2)], ids=["threads", "processes"])
def test_streaming_has_the_kernel_read_in_the_order_of_the_shards(
    packed: ShardSource, options: RoiOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process of several, for all: recorded in memory that a fork shares."""
    told = torch.zeros((1000, 2), dtype=torch.int64).share_memory_()

    def record(descriptor: int, offset: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        assert os.fstat(descriptor).st_size >= offset + size
        told[1 + told[0, 0]] = torch.tensor((offset, size))
        told[0, 0] += 1

    monkeypatch.setattr(os, "posix_fadvise", record)
    with ROI.open(work_over(packed), options) as loader:
        assert len(ids_of(loader.epoch(0))) == len(packed.ids("train"))
    rows = told[1 : 1 + told[0, 0]].tolist()
    train = packed.ids("train")
    places = set(zip(packed.offsets[train].tolist(), packed.sizes[train].tolist(), strict=True))
    assert len(rows) >= len(train)
    assert {tuple(row) for row in rows[: len(train)]} == places


def test_half_size_is_told_by_its_pixels(packed: ShardSource) -> None:
    work = work_over(packed, image_size=16)
    canonical, half = pixels(work, RoiOptions()), pixels(work, RoiOptions(dct_scale=True))
    assert not same(canonical, half)
    for key, image in canonical.items():
        assert (image.float() - half[key].float()).abs().mean() < 6


def test_the_gpu_path_cuts_the_same_regions(packed: ShardSource) -> None:
    """DALI on the CPU, over the regions that it would get on a GPU."""
    work = work_over(packed)
    expected = pixels(work, RoiOptions(region=False))
    loader = dali_loader(work, 2, "cpu")
    try:
        for batch in Feed(loader, work).epoch(0):
            mean, std = (torch.tensor(values).view(3, 1, 1) for values in (work.mean, work.std))
            for sample, ready in zip(batch.ids.tolist(), batch.images, strict=True):
                error = (255 * (ready * std + mean) - expected[0, sample].float()).abs()
                assert error.mean() <= 1
                assert error.max() <= 8
    finally:
        loader.close()


def test_a_flipped_bit_anywhere_is_found(packed: ShardSource) -> None:
    sample = int(packed.ids("train")[0])
    shard = Path(packed.shards[packed.shard_of[sample]])
    whole = shard.read_bytes()
    offset, size = int(packed.offsets[sample]), int(packed.sizes[sample])
    rng = np.random.default_rng(0)
    for place in rng.integers(offset, offset + size, 12).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        shard.write_bytes(damaged)
        with pytest.raises(SampleError, match="not those that were packed") as caught:
            pixels(work_over(packed), RoiOptions())
        assert caught.value.sample == packed.describe(sample)
    shard.write_bytes(whole)
    assert pixels(work_over(packed), RoiOptions())


def test_an_index_of_other_shards_is_refused_by_name(packed: ShardSource) -> None:
    first, second = (Path(shard) for shard in packed.shards[:2])
    for kind in ("samples", "intervals"):
        ours, theirs = first.with_suffix(f".{kind}.npy"), second.with_suffix(f".{kind}.npy")
        ours.write_bytes(theirs.read_bytes())
    with pytest.raises((SampleError, SourceError)) as caught:
        pixels(work_over(packed), RoiOptions())
    assert str(first) in str(caught.value)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_index_is_read_when_the_loader_opens(folder: Source, packed: ShardSource, processes: int) -> None:
    """Once, by the process that the others are forked from."""
    expected = pixels(work_over(folder), RoiOptions())
    with ROI.open(work_over(packed), RoiOptions(processes=processes)) as loader:
        for index in Path(packed.location).glob("*.npy"):
            index.unlink()
        found = {
            (0, int(sample)): image.clone()
            for batch in loader.epoch(0)
            for sample, image in zip(batch.ids, batch.images, strict=True)
        }
    assert same(found, expected)


def test_without_an_index_the_markers_are_looked_for(tmp_path: Path, packed: ShardSource) -> None:
    expected = pixels(work_over(packed), RoiOptions())
    shutil.copytree(tmp_path / "packed", tmp_path / "bare", ignore=shutil.ignore_patterns("*.npy"))
    bare = open_source(tmp_path / "bare")
    with (
        pytest.warns(UserWarning, match=r"index \(.npy files\) beside 4 of 4 shards of .*bare is gone"),
        open_loader("roi", bare, batch_size=4, device="cpu", workers=1),
    ):
        pass
    assert same(pixels(work_over(bare), RoiOptions()), expected)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"order": "random"}, "order must be one of global, stream"),
        ({"prefetch": 0}, "prefetch must be 1 or more"),
        ({"shuffle": 0}, "shuffle must be 1 or more"),
        ({"processes": -1}, "processes must be 0 or more"),
        ({"start": "spoon"}, "start must be one of .*fork.*, got 'spoon'"),
        ({"decode": "tpu"}, "decode must be cpu or gpu"),
        ({"decode": "gpu", "dct_scale": True}, "goes with prefetch and prepare alone"),
    ],
)
def test_options_that_cannot_work_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        RoiOptions(**settings)  # type: ignore[arg-type] # by name, and wrong on purpose


def test_decoding_on_a_gpu_needs_one(packed: ShardSource) -> None:
    with pytest.raises(OptionError, match="needs --device cuda"):
        pixels(work_over(packed), RoiOptions(decode="gpu"))


def test_decoding_on_a_gpu_needs_dali(packed: ShardSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(OptionError, match=r"nvidia\.dali is missing: pip install nvidia-dali"):
        pixels(work_over(packed, device="cuda"), RoiOptions(decode="gpu"))


BOTH = pytest.mark.parametrize(
    "options", [RoiOptions(), RoiOptions(processes=2)], ids=["threads", "processes"]
)


def ids_of(batches: Iterator[Batch]) -> list[int]:
    return [int(sample) for batch in batches for sample in batch.ids]


@BOTH
def test_an_epoch_that_is_still_read_takes_nothing_from_the_next(
    packed: ShardSource, options: RoiOptions
) -> None:
    work = work_over(packed, batch_size=4)
    with ROI.open(work, options) as loader:
        expected = [ids_of(loader.epoch(epoch)) for epoch in range(3)]
    with ROI.open(work, options) as loader:
        older = loader.epoch(0)
        next(older)
        newer = loader.epoch(1)
        came = next(newer).ids.tolist()
        with pytest.raises(LoaderError, match=r"epoch 0 ended after 1 of .*one epoch at a time"):
            next(older)
        assert came + ids_of(newer) == expected[1]
        assert ids_of(loader.epoch(2)) == expected[2]
        last = loader.epoch(0)
        next(last)
    with pytest.raises(LoaderError, match="or the loader was closed"):
        next(last)


class Shrinking(Source):
    """A source that has fewer samples once it is told to."""

    def __init__(self, whole: Source) -> None:
        self.whole, self.most = whole, len(whole.labels)
        self.location, self.classes, self.labels = whole.location, whole.classes, whole.labels
        self.fingerprint = whole.fingerprint

    def ids(self, split: Split) -> NDArray[np.int64]:
        return self.whole.ids(split)[: self.most]

    def read(self, sample_id: int) -> bytes:
        return self.whole.read(sample_id)

    def describe(self, sample_id: int) -> str:
        return self.whole.describe(sample_id)

    def encoded_bytes(self) -> int:
        return self.whole.encoded_bytes()

    def files(self) -> tuple[Path, ...]:
        return self.whole.files()


@BOTH
def test_an_epoch_that_ends_too_soon_is_an_error(folder: Source, options: RoiOptions) -> None:
    source = Shrinking(folder)
    with ROI.open(work_over(source, split="val", batch_size=1), options) as loader:
        source.most = 1
        with pytest.raises(LoaderError, match=f"after 1 of {len(folder.ids('val'))} batches"):
            ids_of(loader.epoch(0))


COMPILED_LATE = """
import sys
from dataclasses import replace
from numba.core.registry import CPUDispatcher
from throughput.contracts import Work
from throughput.loaders.roi import RoiLoaderFactory, RoiOptions
from throughput.sources import open_source

def compiled():
    return {
        f"{name}.{kernel}": len(found.signatures)
        for name, module in list(sys.modules.items())
        if name.startswith("throughput")
        for kernel, found in vars(module).items()
        if isinstance(found, CPUDispatcher)
    }

work = Work(open_source(sys.argv[1]), image_size=32, batch_size=8)
grey = replace(work, channels=1, mean=(0.5,), std=(0.25,))
stream = RoiOptions(order="stream", shuffle=4)
before = None
for one, options in ((work, RoiOptions()), (grey, RoiOptions()), (work, stream)):
    with RoiLoaderFactory().open(one, options) as loader:
        before = before or compiled()
        for batch in loader.epoch(0):
            pass
assert len(before) > 5
print(sorted(name for name, count in compiled().items() if count > before.get(name, 0)))
"""


def test_nothing_is_compiled_once_the_loader_is_open(tmp_path: Path, packed: ShardSource) -> None:
    """In colour, grey and in any order: whoever waits for a batch waits for no compiler."""
    assert packed.growth is not None
    command = [sys.executable, "-c", COMPILED_LATE, str(tmp_path / "packed")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
