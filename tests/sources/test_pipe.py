"""``pipe:`` commands: run only when allowed, once, and within the cache's limit."""

from __future__ import annotations

import pytest

from throughput.errors import RoomError, SourceError
from throughput.sources import open_source, pipe


def test_refused_unless_allowed(tmp_path):
    with pytest.raises(SourceError, match=r"would run a shell command: pass --allow-pipe"):
        open_source(f"pipe:touch {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()


def test_runs_once(tmp_path, samples, write_tar):
    shard = write_tar(tmp_path / "a.tar", samples(4))
    command = f"pipe:echo ran >> {tmp_path}/log; cat {shard}"
    source = open_source(command, allow_pipe=True)
    assert open_source(command, allow_pipe=True).fingerprint == source.fingerprint
    assert (tmp_path / "log").read_text() == "ran\n"
    assert source.location == command
    assert len(source.labels) == 4


def test_among_other_shards(tmp_path, samples, write_tar):
    shard = write_tar(tmp_path / "a.tar", samples(4))
    assert len(open_source([shard, f"pipe:cat {shard}"], allow_pipe=True).labels) == 8


def test_a_command_that_fails(cache):
    command = "pipe:echo no such bucket >&2; exit 3"
    with pytest.raises(SourceError, match=r"failed with exit status 3: no such bucket"):
        open_source(command, allow_pipe=True)
    assert not list((cache / "pipes").iterdir())


def test_too_much_output(cache, monkeypatch):
    monkeypatch.setattr(pipe, "CACHE_LIMIT_BYTES", 10_000_000)
    with pytest.raises(RoomError, match=r"is larger than 0\.01 GB: write it to a \.tar file"):
        open_source("pipe:cat /dev/zero", allow_pipe=True)
    assert not list((cache / "pipes").iterdir())
