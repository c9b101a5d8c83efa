"""Files that somebody made in order to mislead: named, never believed, never waited on for ever."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from throughput.contracts import Work
from throughput.errors import SampleError, SourceError
from throughput.pixels import open_image
from throughput.sources import open_source
from throughput.sources.pack import pack
from throughput.sources.shard_index import open_shard_index

BLOCK = 512


def header(name: str, size: int, kind: bytes = b"0") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def pax(records: bytes) -> bytes:
    return header("pax", len(records), b"x") + padded(records)


def a_sample(image: Callable[..., bytes], name: str = "000") -> bytes:
    data = image(1)
    return header(f"{name}.jpg", len(data)) + padded(data) + header(f"{name}.cls", 1) + padded(b"1")


END = bytes(2 * BLOCK)


def refused(path: Path, data: bytes, words: str) -> None:
    path.write_bytes(data)
    with pytest.raises(SourceError, match=words) as error:
        open_source(path)
    assert str(path) in str(error.value)


def test_pax_records_with_a_size_that_is_no_number_that_computers_have(tmp_path, image):
    value = b"9" * 5000
    record = b"5011 size=" + value + b"\n"
    assert len(record) == 5011
    refused(tmp_path / "a.tar", pax(record) + a_sample(image) + END, "damaged header")


def test_a_header_as_large_as_the_file(tmp_path, image):
    records = b"10 abc=12\n" * 200_000
    refused(tmp_path / "a.tar", pax(records) + a_sample(image) + END, "2000000 bytes about one member")


def test_many_pax_records(tmp_path, image):
    """The last of very many counts, and what lies behind it is read where it is."""
    records = b"10 abc=12\n" * 100_000 + b"16 path=two.jpg\n"
    (tmp_path / "a.tar").write_bytes(pax(records) + a_sample(image, "two") + END)
    source = open_source(tmp_path / "a.tar")
    assert source.members[0] == "two.jpg"
    assert source.read(0) == image(1)


def test_two_names_for_one_member(tmp_path, image):
    refused(
        tmp_path / "a.tar",
        pax(b"16 path=one.jpg\n") + pax(b"16 path=two.jpg\n") + a_sample(image) + END,
        "two headers about one member",
    )


def test_members_of_a_kind_that_nobody_knows_are_not_left_out(tmp_path, image):
    data = image(2)
    other = header("001.jpg", len(data), b"Q") + padded(data) + header("001.cls", 1, b"Q") + padded(b"1")
    refused(tmp_path / "a.tar", a_sample(image) + other + END, "unknown kind b'Q'")


def test_a_file_in_one_piece_is_a_file(tmp_path, image):
    """Type flag 7 of POSIX.1-1988, which readers without such files take for a regular one."""
    data = image(2)
    other = header("001.jpg", len(data), b"7") + padded(data) + header("001.cls", 1, b"7") + padded(b"2")
    (tmp_path / "a.tar").write_bytes(header("volume", 0, b"V") + a_sample(image) + other + END)
    assert sorted(open_source(tmp_path / "a.tar").labels.tolist()) == [1, 2]


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"label":' * 100_000])
def test_json_that_is_nested_without_end(tmp_path, image, write_tar, deep):
    members = [("000.jpg", image(1)), ("000.json", deep.encode())]
    with pytest.raises(SourceError, match=r"the \.json member of the sample 000 is damaged"):
        open_source(write_tar(tmp_path / "a.tar", members))
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "manifest.json").write_text(deep)
    write_tar(folder / "a.tar", [("000.jpg", image(1)), ("000.cls", b"1")])
    assert len(open_source(folder).labels) == 1, "a file of somebody else's by that name"


def test_a_label_as_large_as_the_shard(tmp_path, image):
    path = tmp_path / "a.tar"
    data = image(1)
    size = (1 << 26) + 1
    with path.open("wb") as file:
        file.write(header("000.jpg", len(data)) + padded(data) + header("000.cls", size))
        file.seek(size + -size % BLOCK, io.SEEK_CUR)  # a hole
        file.write(END)
    with pytest.raises(SourceError, match=r"label of the sample 000 takes 67108865 bytes"):
        open_source(path)


def test_names_in_a_tar_are_names_and_no_paths(tmp_path, image, write_tar):
    names = ["../../outside", "/absolute", "pipe:touch ran"]
    members = [
        member for name in names for member in ((f"{name}.jpg", image(1)), (f"{name}.cls", b"../../class"))
    ]
    (tmp_path / "a").mkdir()
    source = open_source(write_tar(tmp_path / "a/a.tar", members))
    assert [source.members[place] for place in range(3)] == [f"{name}.jpg" for name in names]
    pack(source, tmp_path / "packed")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "packed"}
    assert {path.suffix for path in (tmp_path / "packed").iterdir()} == {".tar", ".npy", ".npz", ".json"}


def test_a_manifest_that_promises_more_than_memory_holds(tmp_path, class_folders):
    pack(open_source(class_folders(tmp_path / "images", {"a": 2, "b": 2})), tmp_path / "packed")
    path = tmp_path / "packed/manifest.json"
    record = json.loads(path.read_text())
    for change, words in (
        ({"samples": 10**15}, "do not hold the samples of their manifest"),
        ({"samples": "4"}, "is damaged"),
        ({"samples": 10**30}, "is damaged"),
        ({"classes": "ab"}, "is damaged"),
        ({"shards": []}, "names no shard|is not in the manifest"),
        ({"shards": record["shards"] * 2}, "is damaged"),
        ({"growth": "much"}, "is damaged"),
        ({"9" * 5000: 0}, "is damaged"),
        ({"version": "9" * 5000}, "has version 9{20} and"),
    ):
        path.write_text(json.dumps(record | change))
        with pytest.raises(SourceError, match=words) as error:
            open_source(tmp_path / "packed")
        assert len(str(error.value)) < 1000
    record["shards"][0]["name"] = "../images/a/shard-000000.tar"
    path.write_text(json.dumps(record))
    with pytest.raises(SourceError, match="is damaged"):
        open_source(tmp_path / "packed")


@pytest.fixture
def packed_shard(tmp_path, class_folders) -> Path:
    pack(open_source(class_folders(tmp_path / "images", {"a": 2, "b": 2})), tmp_path / "packed", growth=1.0)
    return next((tmp_path / "packed").glob("*.tar"))


def test_an_index_whose_numbers_wrap_around(packed_shard):
    path = packed_shard.with_suffix(".samples.npy")
    records = np.load(path)
    records["first_interval"][0], records["intervals"][0] = 2**64 - 1, 2
    np.save(path, records)
    with pytest.raises(SourceError, match="is not of this shard"):
        open_shard_index(str(packed_shard), 4)


def test_an_index_that_is_an_archive_or_a_pipe(packed_shard):
    path = packed_shard.with_suffix(".samples.npy")
    with path.open("wb") as file:
        np.savez(file, records=np.zeros(4))
    with pytest.raises(SourceError, match="cannot read the index"):
        open_shard_index(str(packed_shard), 4)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError, match="is no file"):
        open_shard_index(str(packed_shard), 4)


@pytest.mark.parametrize(
    "change",
    [
        {"ends": np.zeros(0, np.int64)}, {"sizes": np.array([1 << 62] * 4)}, {"labels": np.array([-1] * 4)},
        {"offsets": np.array([-512] * 4)}, {"shard_of": np.array([0, 0, 0, 7], np.int32)},
        {"labels": np.zeros(3, np.int64)}, {"sizes": np.ones(4)}, {"ends": np.array([0, 9, 3, 20, 52])},
    ],
    ids=str,
)  # fmt: skip
def test_a_kept_index_that_says_what_cannot_be_is_made_again(cache, packed_shard, change):
    source = open_source(packed_shard.parent)
    (kept,) = (cache / "index").glob("*.npz")
    with np.load(kept) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    with kept.open("wb") as file:
        np.savez(file, **(columns | change))
    again = open_source(packed_shard.parent)
    assert [again.read(place) for place in range(4)] == [source.read(place) for place in range(4)]


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(-4,)", "(4, 1)", "(3,)"])
def test_an_index_whose_header_tells_of_another_size(packed_shard, shape):
    path = packed_shard.with_suffix(".intervals.npy")
    text = f"{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(8))
    with pytest.raises(SourceError, match="cannot read the index"):
        open_shard_index(str(packed_shard), 4)


def test_a_pipe_among_the_images_is_not_waited_on(tmp_path, class_folders):
    images = class_folders(tmp_path / "images", {"a": 2, "b": 2})
    os.mkfifo(images / "a/zzz.jpg")
    with pytest.raises(SourceError, match=r"zzz\.jpg is no file but a pipe"):
        open_source(images)


def test_postscript_is_not_handed_to_ghostscript(tmp_path, class_folders):
    images = class_folders(tmp_path / "images", {"a": 2, "b": 2})
    source = open_source(images)
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "EPS")
    with pytest.raises(SampleError, match="not an image of a known type"):
        open_image(Work(source), 0, data.getvalue())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF"])
def test_images_under_another_name_are_opened(tmp_path, class_folders, kind):
    source = open_source(class_folders(tmp_path / "images", {"a": 2, "b": 2}))
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, kind)
    assert open_image(Work(source), 0, data.getvalue()).size == (8, 8)


def test_names_of_labels_that_are_no_text(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 4, 4), np.uint8))
    np.save(tmp_path / "labels.npy", np.array([2**31, 97], np.uint32).view("<U1"))
    with pytest.raises(SourceError, match=r"labels\.npy is damaged: a label holds what is no character"):
        open_source(tmp_path / "images.npy", labels=tmp_path / "labels.npy")


def test_an_array_that_became_another_one(tmp_path):
    for path in ("images.npy", "labels.npy"):
        np.save(tmp_path / path, np.arange(4) if path[0] == "l" else np.zeros((4, 4, 4), np.uint8))
    source = open_source(tmp_path / "images.npy", labels=tmp_path / "labels.npy")
    for other in (np.zeros((1, 4, 4), np.uint8), np.zeros((4, 5, 5), np.uint8), np.zeros(4, np.uint8)):
        (tmp_path / "images.npy").unlink()
        np.save(tmp_path / "images.npy", other)
        from throughput.sources import arrays

        arrays._open.cache_clear()
        with pytest.raises(SampleError, match=r"images\.npy\[3\]"):
            source.read(3)
