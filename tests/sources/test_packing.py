"""Packed shards: the same samples under the same ids, whatever happens on the way."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from throughput.cache import shutil as cache_shutil
from throughput.errors import OptionError, RoomError, SampleError, SourceError
from throughput.sources import open_source
from throughput.sources.conversion import packed_copy
from throughput.sources.pack import pack


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def indexes(shards):
    return {shard.replace(".tar", f".{kind}.npy") for shard in shards for kind in ("samples", "intervals")}


def assert_same_samples(packed, source):
    assert packed.classes == source.classes
    assert np.array_equal(packed.labels, source.labels)
    for split in ("train", "val"):
        assert np.array_equal(packed.ids(split), source.ids(split))
    assert [packed.read(i) for i in range(len(source.labels))] == [
        source.read(i) for i in range(len(source.labels))
    ]
    assert packed.encoded_bytes() == source.encoded_bytes()


@pytest.fixture
def photos(tmp_path, class_folders):
    return open_source(class_folders(tmp_path / "photos", {"cat": 14, "dog": 21, "owl": 1}))


@pytest.fixture
def split_photos(tmp_path, class_folders):
    class_folders(tmp_path / "photos" / "train", {"cat": 8, "dog": 9})
    class_folders(tmp_path / "photos" / "val", {"ant": 1, "dog": 5})
    return open_source(tmp_path / "photos")


@pytest.mark.parametrize("made", ["photos", "split_photos"])
def test_a_packed_copy_has_the_samples_of_its_source(tmp_path, request, made):
    source = request.getfixturevalue(made)
    out = tmp_path / "deep" / "packed"
    packed = pack(source, out, samples_per_shard=5)
    copy = open_source(out)
    assert_same_samples(copy, source)
    assert copy.key(3) == "000000003"
    assert packed.samples == len(source.labels)
    assert packed.shards == len(copy.shards)
    assert packed.bytes == sum(Path(shard).stat().st_size for shard in copy.shards)
    again = tmp_path / "again"
    pack(copy, again)
    assert_same_samples(open_source(again), source)


def test_folders_only_where_the_source_has_splits_of_its_own(tmp_path, photos, class_folders):
    pack(photos, tmp_path / "flat", samples_per_shard=20)
    shards = {"shard-000000.tar", "shard-000001.tar"}
    assert set(files(tmp_path / "flat")) == {"manifest.json", "index.npz", *shards, *indexes(shards)}
    class_folders(tmp_path / "own" / "train", {"a": 1})
    class_folders(tmp_path / "own" / "val", {"a": 1})
    pack(open_source(tmp_path / "own"), tmp_path / "split")
    shards = {"train/shard-000000.tar", "val/shard-000000.tar"}
    assert set(files(tmp_path / "split")) == {"manifest.json", "index.npz", *shards, *indexes(shards)}


def test_shards_are_ordinary_and_mixed(tmp_path, photos):
    import webdataset

    out = tmp_path / "packed"
    pack(photos, out, samples_per_shard=12)
    urls = sorted(map(str, out.glob("*.tar")))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    ids = [int(sample["__key__"]) for sample in samples]
    assert sorted(ids) == list(range(36))
    assert ids != sorted(ids)
    assert all(sample["jpg"] == photos.read(i) for i, sample in zip(ids, samples, strict=True))
    assert all(int(sample["cls"]) == photos.labels[i] for i, sample in zip(ids, samples, strict=True))
    with tarfile.open(urls[0]) as tar:
        assert {(member.mtime, member.uid, member.mode) for member in tar} == {(0, 0, 0o644)}


def test_the_extension_is_that_of_the_bytes(tmp_path, image):
    kinds = ("JPEG", "PNG", "WEBP", "BMP")
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for number, kind in enumerate(kinds):
        (tmp_path / "photos" / "a" / f"{number}.jpg").write_bytes(image(1, kind))
    (tmp_path / "photos" / "a" / "4.png").write_bytes(b"garbage")
    pack(open_source(tmp_path / "photos"), tmp_path / "packed")
    copy = open_source(tmp_path / "packed")
    assert [copy.members[i] for i in range(5)] == [
        "000000000.jpg",
        "000000001.png",
        "000000002.webp",
        "000000003.bmp",
        "000000004.jpg",
    ]


def test_manifest(tmp_path, photos):
    pack(photos, tmp_path / "packed", samples_per_shard=20)
    manifest = json.loads((tmp_path / "packed" / "manifest.json").read_text())
    assert manifest["format"] == "throughput-shards"
    assert manifest["version"] == 2
    assert manifest["classes"] == ["cat", "dog", "owl"]
    assert manifest["source"] == "photos"
    assert manifest["fingerprint"] == photos.fingerprint
    for shard in manifest["shards"]:
        data = (tmp_path / "packed" / shard["name"]).read_bytes()
        assert shard["bytes"] == len(data)
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
    assert [shard["samples"] for shard in manifest["shards"]] == [20, 16]


@pytest.mark.parametrize(
    ("images", "shard_bytes", "shards"),
    [(36, 10**9, 1), (250, 10**9, 2), (1700, 10**9, 16), (100, 60_000, 5)],
)
def test_default_number_of_shards(tmp_path, class_folders, images, shard_bytes, shards):
    source = open_source(class_folders(tmp_path / "photos", {"a": images}))
    packed = pack(source, tmp_path / "packed", shard_bytes=shard_bytes)
    assert packed.shards == shards
    sizes = [path.stat().st_size for path in (tmp_path / "packed").glob("*.tar")]
    assert max(sizes) <= 1.1 * shard_bytes


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_a_stopped_packing_goes_on(tmp_path, photos, stop_after):
    pack(photos, tmp_path / "whole", samples_per_shard=6)
    out = tmp_path / "stopped"

    def stop(_, done, __):
        # While a shard is being written: only those before it are whole.
        if done > 6 * stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(photos, out, samples_per_shard=6, progress=stop)
    with pytest.raises(SourceError, match=r"was not finished: run the same throughput pack command again"):
        open_source(out)
    # What a killed process leaves.
    (out / ".shard-000004.tar.abc.part").write_bytes(b"half")
    kept = {path.name: path.stat().st_ino for path in out.glob("*.tar")}
    pack(photos, out, samples_per_shard=6)
    assert files(out) == files(tmp_path / "whole")
    assert kept == {path.name: path.stat().st_ino for path in out.glob("*.tar") if path.name in kept}
    assert len(kept) == stop_after


def test_a_finished_shard_that_was_damaged_is_written_again(tmp_path, photos):
    out = tmp_path / "packed"
    pack(photos, out, samples_per_shard=6)
    whole = files(out)
    damaged = bytearray(whole["shard-000002.tar"])
    damaged[700] ^= 1
    (out / "shard-000002.tar").write_bytes(damaged)
    (out / "shard-000003.tar").unlink()
    pack(photos, out, samples_per_shard=6)
    assert files(out) == whole


def test_a_folder_that_holds_something_else(tmp_path, photos, class_folders):
    out = tmp_path / "packed"
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(
        SourceError, match=r"packed is not empty \(it holds thesis\.tex\): choose an empty folder"
    ):
        pack(photos, out)
    (out / "thesis.tex").unlink()
    pack(photos, out)
    before = files(out)
    with pytest.raises(SourceError, match=r"another packing \(samples_per_shard differs\)"):
        pack(photos, out, samples_per_shard=7)
    other = open_source(class_folders(tmp_path / "other", {"cat": 14, "dog": 21, "owl": 1}))
    with pytest.raises(SourceError, match=r"another packing \(fingerprint differs\)"):
        pack(other, out)
    assert files(out) == before


@pytest.mark.parametrize("first", [0.4, None])
@pytest.mark.parametrize("whole", [True, False])
def test_shards_of_one_split_are_not_taken_for_those_of_another(tmp_path, photos, first, whole):
    def stop(_, done, __):
        if not whole and done > 6:
            raise KeyboardInterrupt

    out = tmp_path / "packed"
    with suppress(KeyboardInterrupt):
        source = open_source(photos.location, split_fraction=first)
        pack(source, out, samples_per_shard=6, progress=stop)
    before = files(out)
    with pytest.raises(SourceError, match=r"another packing \(fingerprint differs\): choose an empty folder"):
        pack(open_source(photos.location, split_fraction=0.6), out, samples_per_shard=6)
    assert files(out) == before


@pytest.mark.parametrize("stopped", [True, False])
def test_one_copy_in_the_cache_serves_every_split(photos, stopped):
    def stop(_, done, __):
        if stopped and done:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        packed_copy(photos, stop)
    copies = []
    for share in (0.5, 0.2, None):
        source = open_source(photos.location, split_fraction=share)
        copies.append(packed_copy(source))
        assert_same_samples(copies[-1].source, source)
    assert len({copy.folder for copy in copies}) == 1
    assert [copy.seconds for copy in copies[1:]] == [0, 0]


def test_a_copy_with_gaps_is_made_once_and_anew_when_they_can_be_filled(photos):
    gone, also_gone = (Path(photos.path(sample)) for sample in (3, 5))
    for path in (gone, also_gone):
        path.rename(path.with_suffix(".away"))
    with pytest.raises(SampleError, match="cannot be read"):
        packed_copy(photos)
    first = packed_copy(photos, on_error="skip")
    assert np.flatnonzero(first.source.sizes == 0).tolist() == [3, 5]
    told: list[str] = []
    again = packed_copy(photos, lambda text, *_: told.append(text), on_error="skip")
    assert (again.folder, again.seconds) == (first.folder, 0)
    assert not [text for text in told if text.startswith("packing")]
    gone.with_suffix(".away").rename(gone)
    fuller = packed_copy(photos, on_error="skip")
    assert np.flatnonzero(fuller.source.sizes == 0).tolist() == [5]
    assert fuller.source.read(3) == photos.read(3)
    also_gone.with_suffix(".away").rename(also_gone)
    assert_same_samples(packed_copy(photos, on_error="skip").source, photos)


def test_a_folder_inside_the_images(tmp_path, photos):
    with pytest.raises(SourceError, match=r"lies inside the images' own folder"):
        pack(photos, tmp_path / "photos" / "packed")
    assert not (tmp_path / "photos" / "packed").exists()


def test_a_full_disk_leaves_no_half_shard(tmp_path, photos, monkeypatch):
    out = tmp_path / "packed"
    synced = os.fsync
    calls = 0

    def full(descriptor):
        nonlocal calls
        calls += 1
        # The record, a shard and the two files of its index, the record; then the second shard finds no room.
        if calls == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            RoomError, match=r"the disk is full: cannot write .*shard-000001\.tar; free some room"
        ):
            pack(photos, out, samples_per_shard=6)
    assert set(files(out)) == {"shard-000000.tar", *indexes({"shard-000000.tar"}), "unfinished.json"}
    pack(photos, out, samples_per_shard=6)
    assert_same_samples(open_source(out), photos)


def test_too_little_room_is_said_before(tmp_path, photos, monkeypatch):
    usage = cache_shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(cache_shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RoomError, match=r"no room for the shards in .*packed"):
        pack(photos, tmp_path / "packed")
    assert not files(tmp_path / "packed")


def test_a_folder_that_may_not_be_written(tmp_path, photos):
    (tmp_path / "file").touch()
    with pytest.raises(RoomError, match=r"cannot write to .*file/packed: Not a directory"):
        pack(photos, tmp_path / "file" / "packed")


def test_two_packings_into_a_folder_take_turns(tmp_path, photos):
    out = tmp_path / "packed"
    out.mkdir()
    other = os.open(out, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    told = []

    def let_go(text, *_):
        told.append(text)
        if text.startswith("waiting"):
            os.close(other)

    pack(photos, out, progress=let_go)
    assert told == [f"waiting for another packing into {out}", "packing", "packing", "scanning shards"]


def test_an_image_that_cannot_be_read(tmp_path, photos):
    Path(photos.path(3)).unlink()
    with pytest.raises(SampleError, match=r"0003\.jpg: cannot be read"):
        pack(photos, tmp_path / "packed")
    assert set(files(tmp_path / "packed")) == {"unfinished.json"}


@pytest.mark.parametrize("settings", [{"samples_per_shard": 0}, {"shard_bytes": 0}])
def test_settings_that_cannot_work(tmp_path, photos, settings):
    with pytest.raises(OptionError, match=r"must be 1 or more, got 0"):
        pack(photos, tmp_path / "packed", **settings)


def test_shards_that_changed_after_packing(tmp_path, photos, samples, write_tar):
    out = tmp_path / "packed"
    pack(photos, out, samples_per_shard=6)
    shard = out / "shard-000003.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole + bytes(512))
    with pytest.raises(
        SourceError, match=r"shard-000003\.tar was altered: it has \d+ bytes and its manifest says"
    ):
        open_source(out)
    shard.unlink()
    with pytest.raises(
        SourceError, match=r"cannot read the shard .*shard-000003\.tar, which its manifest names"
    ):
        open_source(out)
    shard.write_bytes(whole.replace(b"000000", b"000009"))
    with pytest.raises(SourceError, match=r"shard-000003\.tar"):
        open_source(out)
    shard.write_bytes((out / "shard-000002.tar").read_bytes())
    assert shard.stat().st_size == len(whole)
    with pytest.raises(SourceError, match=r"do not hold the samples of their manifest"):
        open_source(out)
    shard.write_bytes(whole)
    write_tar(out / "mine.tar", samples(1))
    with pytest.raises(SourceError, match=r"mine\.tar is not in the manifest"):
        open_source(out)


def test_part_of_a_packing_keeps_its_class_names(tmp_path, photos):
    out = tmp_path / "packed"
    pack(photos, out, samples_per_shard=6)
    part = open_source(f"{out}/shard-00000{{0..1}}.tar")
    assert part.classes == ("cat", "dog", "owl")
    assert len(part.labels) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, r"has version 3 and this release reads 2"),
        ({"shards": [{"name": "../../etc/passwd", "samples": 1, "bytes": 1, "sha256": ""}]}, r"is damaged"),
        ({"splits": "odd"}, r"is damaged"),
        ({"extra": 1}, r"is damaged"),
    ],
)
def test_a_manifest_that_cannot_be_trusted(tmp_path, photos, change, message):
    out = tmp_path / "packed"
    pack(photos, out)
    path = out / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(SourceError, match=message):
        open_source(out)


@pytest.mark.parametrize("broken", [b"{", b"", b"\xff\xfe\x00"])
@pytest.mark.parametrize("name", ["shard-000000.tar", "train/shard-000000.tar"])
def test_a_manifest_that_is_no_json_is_not_taken_for_none(tmp_path, samples, write_tar, broken, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write_tar(tmp_path / name, samples(3))
    (tmp_path / "manifest.json").write_bytes(broken)
    for data in (tmp_path, tmp_path / name):
        with pytest.raises(SourceError, match=r"manifest\.json is damaged: it is no JSON.*; pack the images"):
            open_source(data)
    (tmp_path / "manifest.json").write_text('{"files": []}')
    assert len(open_source(tmp_path).labels) == 3, "somebody else's"


def test_somebody_elses_manifest_is_left_alone(tmp_path, samples, write_tar):
    write_tar(tmp_path / "a.tar", samples(3))
    (tmp_path / "manifest.json").write_text('{"files": []}')
    assert len(open_source(tmp_path).labels) == 3
