"""Shards on a server hold what they hold on a disk, whatever way they are named and served."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from throughput.command_line import command_line
from throughput.errors import OptionError, SampleError, SourceError
from throughput.sources import ShardSource, open_source
from throughput.sources.index import INDEX, read_index, write_index
from throughput.sources.remote.fetching import Reach
from throughput.sources.remote.journal import read_journal
from throughput.sources.remote.opening import open_remote
from throughput.sources.remote.retrying import RemoteError
from throughput.sources.remote.source import RemoteShardSource
from throughput.sources.shard_index import index_names


def assert_same(remote: RemoteShardSource, local: ShardSource) -> None:
    assert np.array_equal(remote.labels, local.labels)
    assert remote.classes == local.classes
    for split in ("train", "val"):
        assert np.array_equal(remote.ids(split), local.ids(split))
    assert [remote.read(i) for i in range(len(remote.labels))] == [
        local.read(i) for i in range(len(local.labels))
    ]


@pytest.mark.parametrize("folder", ["packed", "restart"])
def test_a_packed_folder_is_what_it_is_on_a_disk(folder: str, server: str, root: Path) -> None:
    source = open_source(f"{server}/{folder}")
    assert isinstance(source, RemoteShardSource)
    local = open_source(root / folder)
    assert isinstance(local, ShardSource)
    assert_same(source, local)
    assert source.choice == "the index beside the manifest tells where they lie"
    assert (source.growth, source.files()) == (local.growth, ())
    ids = np.arange(len(local.labels))
    for ours, theirs in zip(source.kept_of(ids), local.kept_of(ids), strict=True):
        assert ours is not None
        assert theirs is not None
        assert ours.checksum == theirs.checksum
        assert np.array_equal(ours.interval_bytes, theirs.interval_bytes)


def test_a_trailing_slash_does_not_matter(server: str, packed: ShardSource) -> None:
    source = open_source(f"{server}/packed/")
    assert isinstance(source, RemoteShardSource)
    assert np.array_equal(source.labels, packed.labels)


def test_a_pattern_of_loose_shards_is_scanned(server: str, root: Path) -> None:
    count = len(list((root / "loose").glob("*.tar")))
    pattern = f"part-{{000..{count - 1:03d}}}.tar"
    source = open_source(f"{server}/loose/{pattern}")
    assert isinstance(source, RemoteShardSource)
    local = open_source(f"{root}/loose/{pattern}")
    assert isinstance(local, ShardSource)
    assert_same(source, local)
    assert "fetched whole" in source.choice


def test_one_shard_of_a_packing_has_its_class_names(server: str, root: Path) -> None:
    source = open_source(f"{server}/packed/shard-000000.tar")
    local = open_source(root / "packed" / "shard-000000.tar")
    assert (source.classes, source.location) == (local.classes, f"{server}/packed/shard-000000.tar")


def test_a_packing_without_its_index_is_scanned(server: str, root: Path, packed: ShardSource) -> None:
    (root / "gone" / INDEX).unlink(missing_ok=True)
    source = open_source(f"{server}/gone")
    assert isinstance(source, RemoteShardSource)
    assert_same(source, packed)
    assert source.choice.startswith("no index lies beside the manifest, so shards were fetched whole")


def test_an_index_of_another_packing_is_refused_and_not_kept(server: str, root: Path, reach: Reach) -> None:
    """Its labels are others, and all else fits: no checksum of an image would tell."""
    folder = root / "relabelled"
    shutil.copytree(root / "packed", folder)
    index = read_index(folder / INDEX)
    assert index is not None
    write_index(replace(index, labels=index.labels[::-1].copy()), folder / INDEX, "another")
    with pytest.raises(SourceError, match=r"index.npz is damaged, or not of the packing.*upload it again"):
        open_remote("x", [f"{server}/relabelled"], reach=reach)
    shutil.copy(root / "packed" / INDEX, folder / INDEX)
    source = open_remote("x", [f"{server}/relabelled"], reach=reach)
    assert source.choice == "the index beside the manifest tells where they lie"


def test_checksums_of_another_packing_are_not_kept(server: str, root: Path, reach: Reach) -> None:
    folder = root / "half"
    shutil.copytree(root / "packed", folder)
    name, _ = index_names("shard-000000.tar")
    data = bytearray((folder / name).read_bytes())
    sound = bytes(data)
    records = np.frombuffer(data, np.uint8)[-20 * 9 :].reshape(9, 20)
    records[:, :4] ^= 1  # the checksums
    (folder / name).write_bytes(data)
    source = open_remote("x", [f"{server}/half"], reach=reach)
    sample = int(source.shard_ids(0)[0])
    with pytest.raises(SampleError, match="upload the shard and the index beside it again"):
        source.read(sample)
    (folder / name).write_bytes(sound)
    again = replace(reach, connections=1)  # a process of its own would look at the file anew, as this does
    assert open_remote("x", [f"{server}/half"], reach=again).read(sample)


def test_what_the_cache_has_no_room_for_is_scanned_by_its_headers(
    server: str, root: Path, reach: Reach
) -> None:
    image_bytes, images = 6 << 20, 6
    path = root / "loose" / "large.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(images):
            for name, data in ((f"{number}.jpg", bytes(image_bytes)), (f"{number}.cls", b"1")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    source = open_remote("x", [f"{server}/loose/large.tar"], reach=reach)
    path.unlink()
    assert "only headers were read" in source.choice
    assert source.sizes.tolist() == [image_bytes] * images
    assert read_journal(reach.journal or "").bytes_read < 100_000


def test_a_server_without_ranges_sends_each_shard_once(
    server: str, reach: Reach, packed: ShardSource
) -> None:
    source = open_remote("x", [f"{server}/whole/packed"], reach=reach)
    before = read_journal(reach.journal or "")
    assert not any(file.ranged for file in source.remote)
    assert_same(source, packed)
    read = read_journal(reach.journal or "")
    assert read.requests - before.requests == len(source.shards)
    assert read.bytes_read - before.bytes_read == sum(file.size_bytes for file in source.remote)


def test_redirects_to_another_host_are_followed(server: str, packed: ShardSource) -> None:
    source = open_source(f"{server}/moved/packed")
    assert isinstance(source, RemoteShardSource)
    assert_same(source, packed)


def test_a_redirect_to_a_file_is_not_followed(server: str, reach: Reach) -> None:
    with pytest.raises(RemoteError, match=r"/to-file/a.tar.*after 1 try"):
        open_remote("x", [f"{server}/to-file/a.tar"], reach=reach)


@pytest.mark.parametrize("address", ["ftp://host/a.tar", "gs://bucket/a.tar"])
def test_other_kinds_of_addresses_are_refused(address: str) -> None:
    with pytest.raises(SourceError, match="images are read from http, https, s3"):
        open_source(address)


def test_a_pipe_among_remote_shards_is_refused(server: str) -> None:
    with pytest.raises(SourceError, match=r"is no \.tar shard on a server"):
        open_source([f"{server}/packed/shard-000000.tar", "pipe:cat x.tar"], allow_pipe=True)


def test_a_missing_shard_is_named_at_once(server: str, reach: Reach) -> None:
    with pytest.raises(
        RemoteError, match=r"packed/none.tar: status 404 Not Found, after 1 try; check the address"
    ):
        open_remote("x", [f"{server}/packed/none.tar"], reach=reach)
    assert read_journal(reach.journal or "").requests == 1


def test_a_folder_without_a_manifest_says_what_to_name(server: str) -> None:
    with pytest.raises(
        SourceError, match=r"has no manifest\.json, and its server lists no \.tar shards: name"
    ):
        open_source(f"{server}/loose")


def test_a_shard_of_another_size_than_its_manifest_says_is_refused(server: str, root: Path) -> None:
    folder = root / "altered"
    folder.mkdir()
    for file in (root / "packed").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    shard = folder / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes() + bytes(512))
    with pytest.raises(SourceError, match=r"altered/shard-000001.tar was altered"):
        open_source(f"{server}/altered")


def test_a_password_is_not_shown(server: str, reach: Reach) -> None:
    host = server.removeprefix("http://")
    with pytest.raises(RemoteError) as caught:
        open_remote("x", [f"http://user:secret@{host}/packed/none.tar?signature=secret"], reach=reach)
    assert "secret" not in str(caught.value)
    source = open_remote(
        "x", [f"http://user:secret@{host}/packed/shard-000000.tar?signature=secret"], reach=reach
    )
    assert "secret" not in source.describe(0) + source.location
    named = [
        f"http://user:secret@{host}/loose/part-00{number}.tar?a=1,2&signature=secret" for number in (0, 1)
    ]
    assert open_remote(",".join(named), named, reach=reach).location == (
        f"{server}/loose/part-000.tar,{server}/loose/part-001.tar"
    )


@pytest.mark.parametrize(
    "address",
    [
        "http://user:secret@[host/a.tar",
        "http://user:secret@127.0.0.1:99999/a.tar",
        "http://user:secret@127.0.0.1:1/{a.tar",
        "sftp://user:secret@127.0.0.1:1/a.tar",
    ],
)
def test_what_is_no_address_is_told_without_its_password(address: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(address)
    assert "secret" not in str(caught.value)


def test_the_command_in_results_has_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "https://user:secret@host/{a,b}.tar?key=secret"
    monkeypatch.setattr(sys, "argv", ["throughput", "bench", f"--data={secret},{secret}", "--batch", "2"])
    shown = "https://host/{a,b}.tar"
    assert command_line() == f"throughput bench '--data={shown},{shown}' --batch 2"


def test_a_cache_that_is_too_small_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_REMOTE_CACHE", "1MB")
    with pytest.raises(OptionError, match="--remote-cache must be 64 MiB or more"):
        open_source(f"{server}/packed")


def test_local_shards_need_nothing_of_the_network(root: Path) -> None:
    code = (
        "import sys; from throughput.sources import open_source; import throughput.measure.network; "
        f"open_source({str(root / 'packed')!r}).read(0); "
        "sys.exit(bool({'fsspec', 'aiohttp', 'asyncio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
