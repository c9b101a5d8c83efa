"""Shards whose JPEGs are given restart intervals: the same samples and pixels, counted, and indexed."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from throughput.cli.pack import command
from throughput.contracts import Source
from throughput.errors import OptionError, SampleError, SourceError
from throughput.jpeg.transcode import transcode
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack


def photo(number: int, mode: str = "RGB", kind: str = "JPEG", **settings: object) -> bytes:
    """Smooth, with some noise: about as many bytes a pixel as a photo."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((192, 160))
    noisy = np.clip(np.asarray(coarse) + rng.normal(0, 6, (160, 192, 3)), 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(noisy).convert(mode).save(data, kind, **settings)
    return data.getvalue()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Two classes; of each kind that transcoding tells apart, some."""
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    baseline = [photo(number, quality=93, optimize=True) for number in range(6)]
    others = {
        "progressive.jpg": photo(6, quality=90, progressive=True),
        "cmyk.jpg": photo(7, "CMYK"),
        "drawing.png": photo(8, kind="PNG"),
        "cut.jpg": photo(9)[:-200],
    }
    images = {f"{place}.jpg": data for place, data in enumerate(baseline)} | others
    for name, data in images.items():
        for label in ("a", "b"):
            path = tmp_path / "photos" / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return open_source(tmp_path / "photos")


def opened(folder: Path) -> ShardSource:
    source = open_source(folder)
    assert isinstance(source, ShardSource)
    return source


def test_ids_labels_splits_and_pixels_are_those_of_the_source(tmp_path: Path, photos: Source) -> None:
    packed = pack(photos, tmp_path / "packed", samples_per_shard=6, growth=1.0)
    copy = opened(tmp_path / "packed")
    assert packed.kinds == {"baseline": 12, "progressive": 2, "CMYK": 2, "not a JPEG": 2, "damaged": 2}
    assert copy.growth == 1.0
    assert np.array_equal(copy.labels, photos.labels)
    for split in ("train", "val"):
        assert np.array_equal(copy.ids(split), photos.ids(split))
    for sample in range(len(photos.labels)):
        before, after = photos.read(sample), copy.read(sample)
        if photos.describe(sample).endswith(("cmyk.jpg", "drawing.png", "cut.jpg")):
            assert after == before
        else:
            assert b"\xff\xdd" in after
            assert after != before
            with Image.open(io.BytesIO(before)) as one, Image.open(io.BytesIO(after)) as other:
                assert np.array_equal(np.asarray(one), np.asarray(other))


def test_the_index_tells_checksums_sizes_and_intervals(tmp_path: Path, photos: Source) -> None:
    pack(photos, tmp_path / "packed", samples_per_shard=6, growth=1.0)
    copy = opened(tmp_path / "packed")
    for sample in range(len(copy.labels)):
        kept = copy.kept(sample)
        assert kept is not None
        data = copy.read(sample)
        assert kept.checksum == zlib.crc32(data)
        markers = [
            place for place in range(len(data) - 1) if data[place] == 0xFF and 0xD0 <= data[place + 1] < 0xD8
        ]
        if len(kept.interval_bytes):
            assert (kept.height, kept.width) == (160, 192)
            assert len(markers) == len(kept.interval_bytes) - 1
            assert np.array_equal(np.diff(markers), kept.interval_bytes[1:-1] + 2)


def test_many_samples_are_looked_up_at_once(tmp_path: Path, photos: Source) -> None:
    """As one by one, in any order; nothing is known of a shard whose index is gone."""
    pack(photos, tmp_path / "packed", samples_per_shard=6, growth=1.0)
    (tmp_path / "packed" / "shard-000001.intervals.npy").unlink()
    copy = opened(tmp_path / "packed")
    ids = np.random.default_rng(0).permutation(np.tile(np.arange(len(copy.labels)), 2))
    before = len(pickle.dumps(copy))
    copy.kept_of(ids)
    assert len(pickle.dumps(copy)) == before, "what was looked up does not travel"
    for source in (copy, pickle.loads(pickle.dumps(copy))):
        for sample, one in zip(ids.tolist(), source.kept_of(ids), strict=True):
            alone = copy.kept(sample)
            assert (one is None) == (alone is None) == (copy.shard_of[sample] == 1)
            if one is not None and alone is not None:
                assert one[:3] == alone[:3]
                assert np.array_equal(one.interval_bytes, alone.interval_bytes)


def test_a_shard_without_a_sample_has_nothing_to_be_looked_up(tmp_path: Path, photos: Source) -> None:
    pack(photos, tmp_path / "packed", growth=1.0)
    copy = opened(tmp_path / "packed")
    empty = replace(copy, shards=(*copy.shards, str(tmp_path / "empty.tar")))
    ids = copy.ids("train")
    assert [one and one.checksum for one in empty.kept_of(ids)] == [
        one and one.checksum for one in copy.kept_of(ids)
    ]


def test_nothing_is_known_of_what_was_not_packed(photos: Source) -> None:
    assert photos.kept_of(np.arange(3)) == [None] * 3


def test_a_packing_without_intervals_keeps_checksums_too(tmp_path: Path, photos: Source) -> None:
    packed = pack(photos, tmp_path / "packed")
    copy = opened(tmp_path / "packed")
    assert packed.kinds == {}
    assert copy.growth is None
    for sample in range(len(copy.labels)):
        kept = copy.kept(sample)
        assert kept is not None
        assert kept.checksum == zlib.crc32(photos.read(sample))
        assert len(kept.interval_bytes) == 0


def test_shards_stay_within_the_growth_that_they_are_allowed(tmp_path: Path, photos: Source) -> None:
    """Progressive images, which become baseline ones, are counted apart."""
    sizes = []
    for growth in (0.0, 0.005, 0.01, 1.0):
        packed = pack(photos, tmp_path / f"{growth}", growth=growth)
        sizes.append(opened(tmp_path / f"{growth}").encoded_bytes())
        before = photos.encoded_bytes() - packed.progressive_bytes
        assert sizes[-1] - packed.converted_bytes <= (1 + growth) * before
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_some_images_may_take_what_others_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image may grow by more than the share of all; where too many would, none does."""
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    large, saver = photo(0, quality=93, optimize=True), photo(1, quality=93)
    narrow = transcode(large, 1.0).data
    growth = (len(narrow) / len(large) - 1) / 1.2
    for name, files in (("greedy", [large] * 12), ("mixed", [large] * 12 + [saver] * 12)):
        for number, data in enumerate(files):
            path = tmp_path / name / "one" / f"{number:02d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        source = open_source(tmp_path / name)
        pack(source, tmp_path / f"{name}-packed", growth=growth)
        copy = opened(tmp_path / f"{name}-packed")
        assert copy.encoded_bytes() <= (1 + growth) * source.encoded_bytes()
        allowed = transcode(large, growth).data if name == "greedy" else narrow
        assert [copy.read(number) for number in range(12)] == [allowed] * 12
    assert len(narrow) > (1 + growth) * len(large)


def test_a_stopped_packing_goes_on_and_counts_all_kinds(tmp_path: Path, photos: Source) -> None:
    whole = pack(photos, tmp_path / "packed", samples_per_shard=6, growth=0.01)
    (tmp_path / "packed" / "shard-000001.tar").unlink()
    (tmp_path / "packed" / "shard-000002.intervals.npy").unlink()
    again = pack(photos, tmp_path / "packed", samples_per_shard=6, growth=0.01)
    assert again.kinds == whole.kinds
    assert opened(tmp_path / "packed").kept(0) is not None


def test_another_growth_is_another_packing(tmp_path: Path, photos: Source) -> None:
    pack(photos, tmp_path / "packed", growth=0.01)
    for growth in (None, 0.02):
        with pytest.raises(SourceError, match=r"another packing \(--restart or its --growth differs\)"):
            pack(photos, tmp_path / "packed", growth=growth)


@pytest.mark.parametrize("growth", [-0.1, 1.1])
def test_a_growth_that_cannot_be(tmp_path: Path, photos: Source, growth: float) -> None:
    with pytest.raises(OptionError, match="growth"):
        pack(photos, tmp_path / "packed", growth=growth)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: np.save(path, np.zeros(3)),
        lambda path: np.save(path, np.array([object()]), allow_pickle=True),
    ],
    ids=["empty", "cut", "of something else", "pickled"],
)
@pytest.mark.parametrize("kind", ["samples", "intervals"])
def test_an_index_that_cannot_be_read_is_named(
    tmp_path: Path, photos: Source, kind: str, damage: Callable[[Path], object]
) -> None:
    pack(photos, tmp_path / "packed", growth=1.0)
    damage(tmp_path / "packed" / f"shard-000000.{kind}.npy")
    copy = opened(tmp_path / "packed")
    with pytest.raises(SampleError, match=r"index of .*shard-000000\.tar.*pack the images again") as caught:
        copy.kept(0)
    assert caught.value.sample == copy.describe(0)


def test_shards_of_a_packing_keep_their_index_however_they_are_named(tmp_path: Path, photos: Source) -> None:
    for split in ("train", "val"):
        shutil.copytree(photos.location, tmp_path / "split" / split)
    pack(photos, tmp_path / "packed", samples_per_shard=6, growth=0.5)
    pack(open_source(tmp_path / "split"), tmp_path / "named", samples_per_shard=6, growth=0.5)
    shards = sorted((tmp_path / "packed").glob("*.tar"))
    named: list[str | Path | list[Path]] = [
        f"{tmp_path}/packed/shard-{{000000..000003}}.tar",
        shards[1],
        shards[:2],
        tmp_path / "named" / "train",
        [shards[0], tmp_path / "named" / "val" / "shard-000001.tar"],
    ]
    for data in named:
        copy = open_source(data)
        assert isinstance(copy, ShardSource)
        assert copy.growth == 0.5
        for sample in range(len(copy.labels)):
            kept = copy.kept(sample)
            assert kept is not None
            assert kept.checksum == zlib.crc32(copy.read(sample))


def test_shards_that_no_manifest_tells_of_have_no_index(tmp_path: Path, photos: Source) -> None:
    pack(photos, tmp_path / "packed", samples_per_shard=6, growth=0.5)
    pack(photos, tmp_path / "plain", samples_per_shard=6)
    shutil.copy(tmp_path / "packed" / "shard-000000.tar", tmp_path / "alone.tar")
    for data in (tmp_path / "alone.tar", tmp_path / "plain" / "shard-000000.tar"):
        copy = open_source([data, tmp_path / "packed" / "shard-000001.tar"])
        assert isinstance(copy, ShardSource)
        assert copy.growth is None
        assert copy.kept(0) is None


@pytest.mark.parametrize("kind", ["samples", "intervals"])
def test_an_index_that_was_not_copied_along_is_no_error(tmp_path: Path, photos: Source, kind: str) -> None:
    packed = pack(photos, tmp_path / "packed", growth=1.0)
    index = tmp_path / "packed" / f"shard-000000.{kind}.npy"
    index.unlink()
    copy = opened(tmp_path / "packed")
    assert copy.kept(0) is None
    assert b"\xff\xdd" in copy.read(0)
    again = pack(photos, tmp_path / "packed", growth=1.0)
    assert index.is_file(), "packing again makes it again"
    assert again.kinds == packed.kinds


def test_shards_of_the_first_version_are_read_and_made_into_the_second(
    tmp_path: Path, photos: Source
) -> None:
    """Their manifests told neither growth nor kinds, and no index lay beside them."""
    pack(photos, tmp_path / "packed", samples_per_shard=6)
    path = tmp_path / "packed" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest.pop("growth") is None
    for shard in manifest["shards"]:
        del shard["kinds"]
    path.write_text(json.dumps(manifest | {"version": 1}))
    for index in (tmp_path / "packed").glob("*.npy"):
        index.unlink()
    copy = opened(tmp_path / "packed")
    assert copy.growth is None
    assert [copy.read(sample) for sample in range(20)] == [photos.read(sample) for sample in range(20)]
    assert copy.kept(0) is None
    pack(photos, tmp_path / "packed", samples_per_shard=6)
    assert json.loads(path.read_text())["version"] == 2
    assert len(list((tmp_path / "packed").glob("*.samples.npy"))) == len(manifest["shards"])


def test_the_command_counts_each_kind(tmp_path: Path, photos: Source) -> None:
    result = CliRunner().invoke(command, [photos.location, str(tmp_path / "packed"), "--restart"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    before = photos.encoded_bytes()
    after = opened(tmp_path / "packed").encoded_bytes()
    assert lines[1] == f"images of {before} bytes take {after} now ({100 * after / before - 100:+.2f} %)"
    packed = pack(photos, tmp_path / "packed", growth=0.005)
    progressive, converted = packed.progressive_bytes, packed.converted_bytes
    assert 0 < progressive < converted
    assert lines[2] == (
        f"progressive ones of {progressive} bytes take {converted} as baseline "
        f"({100 * converted / progressive - 100:+.2f} %), "
        f"the others {100 * (after - converted) / (before - progressive) - 100:+.2f} %"
    )
    assert (after - converted) <= 1.005 * (before - progressive)
    assert lines[3:] == [
        "12 baseline: restart intervals",
        "2 progressive: restart intervals",
        "2 CMYK: left as they are",
        "2 damaged: left as they are",
        "2 not a JPEG: left as they are",
    ]
    manifest = json.loads((tmp_path / "packed" / "manifest.json").read_text())
    assert manifest["growth"] == 0.005
    assert sum(sum(shard["kinds"].values()) for shard in manifest["shards"]) == 20


def test_growth_without_intervals_is_refused(tmp_path: Path, photos: Source) -> None:
    result = CliRunner().invoke(command, [photos.location, str(tmp_path / "packed"), "--growth", "1"])
    assert isinstance(result.exception, OptionError)
