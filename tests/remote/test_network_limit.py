"""What a network gives is measured past the cache, and what it was told to be is believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from servers import Begin

from throughput.contracts import Work, no_progress
from throughput.errors import OptionError
from throughput.measure.network import Network, measure_limit, with_limit
from throughput.sources import ShardSource
from throughput.sources.remote.fetching import Reach
from throughput.sources.remote.opening import open_remote
from throughput.sources.remote.source import RemoteShardSource


def test_the_limit_of_a_slow_network_is_found(proxy: Begin, reach: Reach) -> None:
    between = proxy(bytes_per_second=3e6)
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=reach)
    found = measure_limit(source, seconds=0.3)
    assert found is not None
    assert found <= 3.3e6
    passed = between.passed_bytes
    assert passed > 0.3 * 1e6


def test_a_limit_that_was_told_is_not_measured(
    proxy: Begin, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = proxy()
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=reach)
    asked = between.requests
    monkeypatch.setenv("THROUGHPUT_NETWORK_LIMIT", "20MB/s")
    told = with_limit(source, no_progress)
    assert isinstance(told, RemoteShardSource)
    assert (told.limit_bytes_per_second, told.limit_given) == (20e6, True)
    assert between.requests == asked
    monkeypatch.setenv("THROUGHPUT_NETWORK_LIMIT", "fast")
    with pytest.raises(OptionError, match="--network-limit must be a rate"):
        with_limit(source, no_progress)


def test_a_server_without_ranges_has_no_limit_to_be_measured(server: str, reach: Reach) -> None:
    source = open_remote("x", [f"{server}/whole/packed"], reach=reach)
    assert measure_limit(source, seconds=0.1) is None


def test_shards_that_the_cache_cannot_hold_are_warned_of(server: str, reach: Reach, tmp_path: Path) -> None:
    source = open_remote("x", [f"{server}/packed"], reach=reach)
    assert Network(Work(source, batch_size=8), tmp_path / "j").warnings() == ()
    large = replace(source, remote=tuple(replace(file, size_bytes=10**9) for file in source.remote))
    (told,) = Network(Work(large, batch_size=8), tmp_path / "j").warnings()
    assert told.startswith(f"the shards hold {len(source.remote)}.0 GB and --remote-cache 0.1 GB: each epoch")


def test_a_server_without_ranges_is_warned_of_by_name(server: str, reach: Reach, tmp_path: Path) -> None:
    source = open_remote("x", [f"{server}/whole/packed"], reach=reach)
    (told,) = Network(Work(source, batch_size=8), tmp_path / "j").warnings()
    assert told.startswith(
        "this server sends no parts of files (no Range support): each shard is fetched whole, "
    )
    assert "times" not in told
    large = replace(source, remote=tuple(replace(file, size_bytes=10**9) for file in source.remote))
    told, beyond = Network(Work(large, batch_size=8), tmp_path / "j").warnings()
    each = len(source.labels) / len(source.shards)
    assert f"up to {each:,.0f} times the data" in told
    assert "--remote-cache" in beyond


def test_a_source_on_this_machine_stays_what_it_is(packed: ShardSource, root: Path) -> None:
    assert root.exists()
    assert with_limit(packed, no_progress) is packed
