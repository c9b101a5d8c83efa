"""Tar shards: what they hold, and every way in which one can be wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from throughput.errors import SampleError, SourceError
from throughput.sources import ShardSource, open_source


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_lie_where_tarfile_says(tmp_path, image, write_tar, tar_format):
    deep = "/".join(["folder" * 5] * 6)
    members = [
        (f"{deep}/{number:03d}.{extension}", data)
        for number in range(5)
        for extension, data in (("jpg", image(number)), ("cls", b"%d\n" % (number % 2)))
    ]
    path = write_tar(tmp_path / "a.tar", members, tar_format)
    source = open_source(path)
    assert isinstance(source, ShardSource)
    with tarfile.open(path) as tar:
        images = [member for member in tar.getmembers() if member.name.endswith(".jpg")]
    assert source.offsets.tolist() == [member.offset_data for member in images]
    assert source.sizes.tolist() == [member.size for member in images]
    assert [source.read(i) for i in range(5)] == [image(number) for number in range(5)]
    assert source.labels.tolist() == [0, 1, 0, 1, 0]
    assert source.classes == ("0", "1")
    assert source.key(2) == f"{deep}/002"
    assert source.describe(0) == f"{path}: key {deep}/000.jpg at byte {images[0].offset_data}"
    assert source.encoded_bytes() == sum(member.size for member in images)


def test_names_beyond_ascii_and_long_ones(tmp_path, image, write_tar):
    key = "é" * 120
    for tar_format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = write_tar(
            tmp_path / f"{tar_format}.tar", [(f"{key}.jpg", image(1)), (f"{key}.cls", b"0")], tar_format
        )
        source = open_source(path)
        assert isinstance(source, ShardSource)
        assert source.key(0) == key


def test_other_members_are_left_alone(tmp_path, image, write_tar):
    path = write_tar(
        tmp_path / "a.tar",
        [
            ("__meta__", b"x"),
            ("README", b"x"),
            (".hidden.jpg", b"x"),
            ("1.seg.png", image(9, "PNG")),
            ("1.jpg", image(1)),
            ("1.cls", b"0"),
            ("2.CLS", b"0"),
            ("2.rgb.PNG", image(2, "PNG")),
        ],
    )
    with tarfile.open(path, "a") as tar:
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "1.jpg"
        tar.addfile(link)
    source = open_source(path)
    assert [source.read(i) for i in range(2)] == [image(1), image(2, "PNG")]


@pytest.mark.parametrize(
    ("labels", "label_field", "classes", "expected"),
    [
        ([{"cls": "cat"}, {"cls": "ant\n"}, {"cls": "cat"}], None, ("ant", "cat"), [1, 0, 1]),
        ([{"json": {"label": 2}}, {"json": {"label": 0}}], None, ("0", "1", "2"), [2, 0]),
        ([{"json": {"target": "b", "x": 1}}, {"json": {"target": "a"}}], None, ("a", "b"), [1, 0]),
        (
            [{"cls": "7", "json": {"breed": 1}}, {"cls": "7", "json": {"breed": "0"}}],
            "breed",
            ("0", "1"),
            [1, 0],
        ),
    ],
)
def test_labels(tmp_path, image, write_tar, *, labels, label_field, classes, expected):
    members = []
    for number, parts in enumerate(labels):
        members.append((f"{number}.jpg", image(number)))
        for extension, value in parts.items():
            data = value if isinstance(value, str) else json.dumps(value)
            members.append((f"{number}.{extension}", data.encode()))
    source = open_source(write_tar(tmp_path / "a.tar", members), label_field=label_field)
    assert source.classes == classes
    assert source.labels.tolist() == expected


@pytest.mark.parametrize(
    ("extension", "data", "message"),
    [
        ("txt", b"cat", r"a\.tar: the sample 1 has no label \(its members: \.jpg, \.txt\).*--label-field"),
        ("cls", b"", r"the sample 1 has no label"),
        ("cls", b"-1", r"the label -1 of the sample 1 is no class.*--label-field"),
        ("cls", b"123456789", r"the label 123456789 of the sample 1 is no class"),
        ("json", b'{"breed": 1}', r"one of label, class, cls, target, class_id"),
        ("json", b'{"label": 1.5}', r"the sample 1 has no label"),
        ("json", b'{"label": true}', r"the sample 1 has no label"),
        ("json", b'{"label"', r"the \.json member of the sample 1 is damaged"),
    ],
)
def test_a_sample_without_label(tmp_path, image, write_tar, *, extension, data, message):
    path = write_tar(
        tmp_path / "a.tar",
        [("0.jpg", image(0)), ("0.cls", b"0"), ("1.jpg", image(1)), (f"1.{extension}", data)],
    )
    with pytest.raises(SourceError, match=message):
        open_source(path)


def test_labels_of_two_kinds(tmp_path, image, write_tar):
    members = [("0.jpg", image(0)), ("0.cls", b"0"), ("1.jpg", image(1)), ("1.cls", b"cat")]
    with pytest.raises(SourceError, match=r"mixed, numbers such as 0 and names such as 'cat'"):
        open_source(write_tar(tmp_path / "a.tar", members))


def test_no_images_and_a_label_without_image(tmp_path, image, write_tar):
    with pytest.raises(SourceError, match=r"holds no image .*its members: \.cls, \.npy"):
        open_source(write_tar(tmp_path / "a.tar", [("0.npy", b"x"), ("0.cls", b"0")]))
    members = [("0.jpg", image(0)), ("0.cls", b"0"), ("1.cls", b"0")]
    with pytest.raises(SourceError, match=r"the sample 1 has a label but no image"):
        open_source(write_tar(tmp_path / "b.tar", members))


@pytest.mark.parametrize(
    "names", [("0.jpg", "0.cls", "1.jpg", "1.cls", "0.jpg", "0.cls"), ("0.jpg", "0.cls", "0.jpg")]
)
def test_a_key_that_comes_twice(tmp_path, image, write_tar, names):
    members = [(name, image(0) if name.endswith("jpg") else b"0") for name in names]
    with pytest.raises(SourceError, match=r"a\.tar: the key 0 comes twice"):
        open_source(write_tar(tmp_path / "a.tar", members))


def test_a_damaged_header_in_the_middle(tmp_path, samples, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(6))
    with tarfile.open(path) as tar:
        place = tar.getmembers()[6].offset
    data = bytearray(path.read_bytes())
    data[place + 20] ^= 1
    path.write_bytes(data)
    with tarfile.open(path) as tar:
        assert len(tar.getnames()) == 6, "the standard library says nothing"
    with pytest.raises(SourceError, match=rf"a\.tar has a damaged header at byte {place}"):
        open_source(path)


def test_damaged_pax_records(tmp_path, image, write_tar):
    name = "é" * 120
    path = write_tar(tmp_path / "a.tar", [(f"{name}.jpg", image(0))], tarfile.PAX_FORMAT)
    path.write_bytes(path.read_bytes().replace(b" path=", b"xpath=", 1))
    with pytest.raises(SourceError, match=r"damaged header at byte 0 \(pax records\)"):
        open_source(path)


def test_a_truncation_inside_a_sample_is_noticed(tmp_path, samples, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(2))
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    for size in range(0, members[-1].offset_data + 512, 128):
        path.write_bytes(whole[:size])
        if size == members[2].offset:
            # At the border of two samples a tar without end mark is whole.
            assert len(open_source(path).labels) == 1
        else:
            with pytest.raises(SourceError, match=r"a\.tar"):
                open_source(path)


def test_truncated_in_the_last_image(tmp_path, samples, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(2)[:3])
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    os.truncate(path, last.offset_data + last.size - 1)
    with pytest.raises(
        SourceError, match=rf"truncated: the member at byte {last.offset} has {last.size} bytes"
    ):
        open_source(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"holds no image"),
        (bytes(10240), r"holds no image"),
        (b"garbage" * 1000, r"is no tar file"),
        (b"\x1f\x8b" + b"x" * 2000, r"is compressed.*unpack it"),
    ],
)
def test_no_tar(tmp_path, data, message):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(SourceError, match=rf"a\.tar {message}"):
        open_source(tmp_path / "a.tar")


def test_joined_tars(tmp_path, samples, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(1))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(SourceError, match=r"goes on at byte 10240, after its end mark"):
        open_source(path)


def test_ways_to_name_shards(tmp_path, samples, write_tar):
    shards = [write_tar(tmp_path / f"s-{number}.tar", samples(4, 4 * number)) for number in range(3)]
    named = [
        open_source(tmp_path),
        open_source(f"{tmp_path}/s-{{0..2}}.tar"),
        open_source(f"{tmp_path}/s-{{0,1,2}}.tar"),
        open_source(",".join(map(str, shards))),
        open_source(shards),
    ]
    for source in named:
        assert isinstance(source, ShardSource)
        assert source.shards == tuple(map(str, shards))
        assert len(source.labels) == 12
        assert source.shard_ids(1).tolist() == [4, 5, 6, 7]
        assert source.fingerprint == named[0].fingerprint


def test_a_long_list_and_a_relative_path(tmp_path, samples, write_tar, monkeypatch):
    write_tar(tmp_path / "a.tar", samples(2))
    monkeypatch.chdir(tmp_path)
    source = open_source(",".join(["a.tar"] * 1000))
    assert len(source.labels) == 2000
    monkeypatch.chdir("/")
    assert source.read(1999) == source.read(1)


def test_split_folders(tmp_path, samples, write_tar):
    write_tar(tmp_path / "train" / "b.tar", samples(4))
    write_tar(tmp_path / "train" / "a.tar", samples(3))
    assert len(open_source(tmp_path).ids("val")) == 3
    write_tar(tmp_path / "test" / "a.tar", samples(2))
    source = open_source(tmp_path)
    assert source.ids("train").tolist() == list(range(7))
    assert source.ids("val").tolist() == [7, 8]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("gs://bucket/shard.tar", r"gs://bucket/shard\.tar: images are read from http, https, s3 and from"),
        ("ftp://host/{{0..9}}.tar", r"copy them to one of these first"),
        ("", r"no images were named"),
        ([], r"no images were named"),
        ("{tmp}/s-{{0..1.tar", r"braces"),
        ("{tmp}/shards-000.tar", r"did you mean .*/shard-000\.tar\?"),
        ("{tmp}/notes.txt", r"neither a folder nor a \.tar shard"),
        (["{tmp}/shard-000.tar", "{tmp}"], r"is a folder: a list may only hold \.tar shards"),
    ],
)
def test_what_cannot_be_opened(tmp_path, samples, write_tar, data, message):
    write_tar(tmp_path / "shard-000.tar", samples(1))
    (tmp_path / "notes.txt").touch()
    named = (
        data.format(tmp=tmp_path) if isinstance(data, str) else [item.format(tmp=tmp_path) for item in data]
    )
    with pytest.raises(SourceError, match=message):
        open_source(named)


def test_the_index_is_kept_and_made_again(tmp_path, cache, samples, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(6))
    told = []

    def count(text, *_):
        told.append(text)

    first = open_source(path, progress=count)
    again = open_source(path, progress=count)
    assert told == ["scanning shards"], "the second opening scans nothing"
    assert np.array_equal(first.labels, again.labels)
    (kept,) = (cache / "index").iterdir()
    for damage in (b"", b"garbage", kept.read_bytes()[:-30], kept.read_bytes()[:200]):
        kept.write_bytes(damage)
        assert np.array_equal(open_source(path, progress=count).labels, first.labels)
    assert len(told) == 5
    write_tar(path, samples(9))
    assert len(open_source(path).labels) == 9


def test_read_from_threads_forks_and_pickles(tmp_path, samples, image, write_tar):
    for number in range(20):
        write_tar(tmp_path / f"{number:02d}.tar", samples(1, number))
    source = open_source(tmp_path)
    expected = [image(number) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, list(range(20)) * 5)) == expected * 5
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as workers:
            assert workers.map(source.read, range(20)) == expected
    assert pickle.loads(pickle.dumps(source)).read(3) == expected[3]


FEW_FILES = """
import os, resource, sys
from concurrent.futures import ThreadPoolExecutor
limit, shards, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
from throughput.sources import open_source
source = open_source(folder)
with ThreadPoolExecutor(8) as pool:
    read = list(pool.map(source.read, list(range(shards)) * 5))
assert read == read[:shards] * 5 and len(set(read)) == shards
held = map("/proc/self/fd/{}".format, range(limit))
print(sum(os.readlink(one).endswith(".tar") for one in held if os.path.lexists(one)))
"""


@pytest.mark.parametrize(("limit", "kept_open"), [(200, 64), (280, 70), (800, 90)])
def test_a_quarter_of_the_files_that_may_be_open(tmp_path, samples, write_tar, *, limit, kept_open):
    """Of 90 shards; where fewer are kept open, some are closed while others are read."""
    for number in range(90):
        write_tar(tmp_path / f"{number:02d}.tar", samples(1, number))
    command = [sys.executable, "-c", FEW_FILES, str(limit), "90", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(found.stdout) == kept_open


def test_memory_that_is_used_again_is_read_into(tmp_path, samples, image, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(3))
    source = open_source(path)
    memory = np.zeros(10_000, np.uint8)
    for sample in (2, 0, 1):
        data = source.read_into(sample, lambda size: memory[:size])
        assert data.tobytes() == image(sample)
        assert np.shares_memory(data, memory)
        assert not data.flags.writeable
    os.truncate(path, int(source.offsets[2]) + 10)
    with pytest.raises(SampleError, match=r"key 000002\.jpg at byte \d+: the shard ends after 10 of"):
        source.read_into(2, lambda size: memory[:size])


def test_a_shard_that_changes_after_opening(tmp_path, samples, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(3))
    source = open_source(path)
    os.truncate(path, int(source.offsets[2]) + 10)
    with pytest.raises(SampleError, match=r"a\.tar: key 000002\.jpg at byte \d+: the shard ends after 10 of"):
        source.read(2)


def test_a_shard_that_is_gone(tmp_path, samples, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(3))
    source = open_source(path)
    path.unlink()
    with pytest.raises(SampleError, match=r"key 000001\.jpg at byte \d+: cannot be read: No such file"):
        source.read(1)


def test_a_shard_that_is_replaced_is_read_anew(tmp_path, samples, image, write_tar):
    path = write_tar(tmp_path / "a.tar", samples(1))
    assert open_source(path).read(0) == image(0)
    write_tar(tmp_path / "b.tar", samples(1, 7)).replace(path)
    os.utime(path, ns=(1, 1))
    assert open_source(path).read(0) == image(7)


def test_a_shard_put_in_the_place_of_another_is_not_streamed(tmp_path, image, write_tar):
    """Whoever reads it by place has the one that was scanned open, and goes on with that."""
    first, second = (
        [("0.jpg", image(number)), ("0.cls", b"0"), ("1.jpg", image(number + 1)), ("1.cls", b"1")]
        for number in (1, 3)
    )
    path = write_tar(tmp_path / "a.tar", first)
    source = open_source(path)
    with source.open_run(0, source.shard_ids(0)) as stream:
        assert stream.read() == path.read_bytes()
    assert source.read(0) == image(1)
    other = write_tar(tmp_path / "b.tar", second)
    os.utime(other, (1, 1))
    other.replace(path)
    assert source.read(0) == image(1)
    with pytest.raises(SampleError, match="the shard changed since it was scanned: start again"):
        source.open_run(0, source.shard_ids(0))


def test_a_source_that_does_not_know_when_it_was_scanned_is_read(tmp_path, samples, image, write_tar):
    source = open_source(write_tar(tmp_path / "a.tar", samples(2)))
    assert isinstance(source, ShardSource)
    unstamped = replace(source, stamps=())
    assert [unstamped.read(i) for i in range(2)] == [image(0), image(1)]
    with unstamped.open_run(0, unstamped.shard_ids(0)) as stream:
        assert stream.read(1)
