"""The loader of regions: what it decodes, what it prepares, what its options do, and how it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from throughput.contracts import Source, Work
from throughput.errors import OptionError, SampleError, SourceError
from throughput.loaders.region_dali import dali_loader
from throughput.loaders.roi import RoiOptions
from throughput.measure.feed import Feed
from throughput.registry import load_loader
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack
from throughput.testing import write_contract_images

ROI = load_loader("roi")


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
    assert prepared.folder is None


def test_what_has_no_room_in_the_cache_is_decoded_whole(
    folder: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("throughput.sources.conversion.CACHE_LIMIT_BYTES", 1)
    prepared = ROI.prepare(work_over(folder), RoiOptions())
    assert prepared.work.source is folder
    assert len(pixels(prepared.work, RoiOptions())) == len(folder.ids("train"))


def test_processes_threads_and_whole_images_give_the_same_pixels(packed: ShardSource) -> None:
    work = work_over(packed)
    expected = pixels(work, RoiOptions(), epochs=2)
    for options in (RoiOptions(processes=2), RoiOptions(region=False), RoiOptions(order="stream", shuffle=4)):
        assert same(pixels(work, options, epochs=2), expected)


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


def test_a_flipped_bit_anywhere_is_found_on_request(packed: ShardSource) -> None:
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
            pixels(work_over(packed), RoiOptions(verify=True))
        assert caught.value.sample == packed.describe(sample)
    shard.write_bytes(whole)
    assert pixels(work_over(packed), RoiOptions(verify=True))


def test_there_is_nothing_to_verify_by_in_a_folder(folder: Source) -> None:
    with pytest.raises(SampleError, match="no checksum was kept"):
        pixels(work_over(folder), RoiOptions(verify=True))


def test_an_index_of_other_shards_is_refused_by_name(packed: ShardSource) -> None:
    first, second = (Path(shard) for shard in packed.shards[:2])
    for kind in ("samples", "intervals"):
        ours, theirs = first.with_suffix(f".{kind}.npy"), second.with_suffix(f".{kind}.npy")
        ours.write_bytes(theirs.read_bytes())
    with pytest.raises((SampleError, SourceError)) as caught:
        pixels(work_over(packed), RoiOptions())
    assert str(first) in str(caught.value)


def test_an_index_that_is_gone_is_missed_by_name(packed: ShardSource) -> None:
    Path(packed.shards[0]).with_suffix(".intervals.npy").unlink()
    with pytest.raises(SourceError, match="cannot read the index") as caught:
        pixels(work_over(packed), RoiOptions())
    assert packed.shards[0] in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"order": "random"}, "order must be one of global, stream"),
        ({"prefetch": 0}, "prefetch must be 1 or more"),
        ({"shuffle": 0}, "shuffle must be 1 or more"),
        ({"processes": -1}, "processes must be 0 or more"),
        ({"decode": "tpu"}, "decode must be cpu or gpu"),
        ({"decode": "gpu", "verify": True}, "goes with prefetch and prepare alone"),
    ],
)
def test_options_that_cannot_work_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        RoiOptions(**settings)  # type: ignore[arg-type] # by name, and wrong on purpose


def test_decoding_on_a_gpu_needs_one(packed: ShardSource) -> None:
    with pytest.raises(OptionError, match="needs --device cuda"):
        pixels(work_over(packed), RoiOptions(decode="gpu"))
