"""Shards that are changed, replaced or removed once they are open."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from throughput.errors import SampleError
from throughput.sources import ShardSource, open_source


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
