"""Shards in a bucket, by moto's server, which speaks S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from throughput.errors import SampleError, SourceError
from throughput.sources import ShardSource
from throughput.sources.remote.fetching import Reach
from throughput.sources.remote.opening import open_remote
from throughput.sources.remote.retrying import RemoteError

s3fs = pytest.importorskip("s3fs", reason="pip install 'throughput[s3]'")
moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")


@pytest.fixture(scope="module")
def bucket(root: Path) -> Iterator[None]:
    """``packed`` and ``loose`` in a bucket named shards, and the environment that leads there."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    surroundings = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "NO_PROXY": "127.0.0.1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in surroundings.items():
            patch.setenv(name, value)
        files = s3fs.S3FileSystem(skip_instance_cache=True)
        files.mkdir("shards")
        for folder in ("packed", "loose"):
            for file in (root / folder).iterdir():
                files.pipe_file(f"shards/{folder}/{file.name}", file.read_bytes())
        yield
    server.stop()


@pytest.mark.usefixtures("bucket")
def test_a_packed_folder_in_a_bucket(reach: Reach, packed: ShardSource) -> None:
    source = open_remote("x", ["s3://shards/packed"], reach=reach)
    assert [source.read(i) for i in range(len(source.labels))] == [
        packed.read(i) for i in range(len(packed.labels))
    ]


@pytest.mark.usefixtures("bucket")
def test_a_prefix_without_a_manifest_is_listed(reach: Reach, root: Path) -> None:
    source = open_remote("x", ["s3://shards/loose"], reach=reach)
    names = sorted(path.name for path in (root / "loose").glob("*.tar"))
    assert [shard.rpartition("/")[2] for shard in source.shards] == names


@pytest.mark.usefixtures("bucket")
def test_what_is_not_in_a_bucket_is_named(reach: Reach) -> None:
    with pytest.raises(RemoteError, match=r"s3://shards/packed/none.tar: status 404"):
        open_remote("x", ["s3://shards/packed/none.tar"], reach=reach)
    with pytest.raises(SourceError, match="lists no"):
        open_remote("x", ["s3://shards/nothing"], reach=reach)


@pytest.mark.usefixtures("bucket")
def test_an_object_that_changes_is_not_read_on(reach: Reach, root: Path) -> None:
    whole = (root / "loose" / "part-000.tar").read_bytes()
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    files.pipe_file("shards/changing.tar", whole)
    source = open_remote("x", ["s3://shards/changing.tar"], reach=reach)
    source.forget()
    files.pipe_file("shards/changing.tar", whole[::-1])
    with pytest.raises(SampleError, match=r"status 412 \(another version\).*it changed since"):
        source.read(0)
