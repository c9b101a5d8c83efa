"""What goes wrong between a server and a reader is made good, or told by name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from servers import QUICK, Begin, Harm, now_and_then

from throughput.checking.kept import Kept
from throughput.checking.listing import list_pieces
from throughput.checking.pieces import SourceListing
from throughput.checking.run import check
from throughput.errors import RoomError, SampleError, SourceError
from throughput.sources import ShardSource
from throughput.sources.conversion import packed_copy
from throughput.sources.remote.fetching import Reach
from throughput.sources.remote.journal import read_journal
from throughput.sources.remote.opening import open_remote
from throughput.sources.remote.retrying import (
    FailedTryError,
    RemoteError,
    Retries,
    failed_status,
    with_retries,
)
from throughput.sources.remote.source import RemoteShardSource


def samples(source: ShardSource) -> list[bytes]:
    return [source.read(sample) for sample in range(len(source.labels))]


@pytest.mark.parametrize("harm", ["reset", "truncate", "busy"])
def test_every_byte_comes_though_requests_fail(
    harm: Harm, proxy: Begin, reach: Reach, packed: ShardSource
) -> None:
    between = proxy(now_and_then(harm, every=4))
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=reach)
    assert samples(source) == samples(packed)
    assert between.harmed > 5
    # A connection that was kept open and breaks before the answer begins is opened anew below us.
    assert 2 < read_journal(reach.journal or "").retries <= between.harmed


def test_a_server_that_says_too_many_requests_is_asked_again(
    server: str, reach: Reach, packed: ShardSource
) -> None:
    source = open_remote(
        "x", [f"{server}/few/packed"], reach=Reach(reach.cache, retries=Retries(20, 0.02, 0.1))
    )
    assert samples(source) == samples(packed)


def test_what_never_comes_is_told_with_all_that_is_known(proxy: Begin, reach: Reach) -> None:
    harmed: list[Harm] = []
    between = proxy(lambda _: harmed[0] if harmed else None)
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=reach)
    harmed.append("busy")
    asked = between.requests
    with pytest.raises(SampleError) as caught:
        source.read(0)
    told = str(caught.value)
    assert source.describe(0) in told
    assert f"status 503 Service Unavailable, after {QUICK.tries} tries; check the network" in told
    assert ", bytes 0-" in told
    assert between.requests - asked == QUICK.tries


def test_who_waits_for_what_was_tried_often_enough_does_not_try_as_often_again(
    proxy: Begin, reach: Reach
) -> None:
    harmed: list[Harm] = []
    between = proxy(lambda _: harmed[0] if harmed else None)
    one = replace(reach, connections=1)
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=one)
    first, then = (source.shard_ids(shard)[:1] for shard in (0, 1))
    harmed.append("busy")
    asked = between.requests
    source.expect(np.concatenate([first, then]))
    with pytest.raises(SampleError, match=rf"status 503 Service Unavailable, after {QUICK.tries} tries"):
        source.read(int(then[0]))
    assert between.requests - asked == 2 * QUICK.tries  # of each shard, by the one thread


def test_a_shard_that_changes_on_the_server_is_not_read_on(server: str, root: Path, reach: Reach) -> None:
    shard = root / "loose" / "changing.tar"
    whole = (root / "loose" / "part-000.tar").read_bytes()
    shard.write_bytes(whole)
    source = open_remote("x", [f"{server}/loose/changing.tar"], reach=reach)
    source.forget()
    shard.write_bytes(whole)
    os.utime(shard, (1, 1))
    with pytest.raises(SampleError, match=r"status 412.*it changed since it was opened: start again"):
        source.read(0)
    shard.unlink()


def test_a_block_that_went_bad_on_this_disk_is_fetched_again(
    server: str, reach: Reach, packed: ShardSource
) -> None:
    source = open_remote("x", [f"{server}/packed"], reach=reach)
    assert source.read(0) == packed.read(0)
    for block in Path(reach.cache.folder, "blocks").rglob("???????"):
        block.write_bytes(bytes(block.stat().st_size))
    assert samples(source) == samples(packed)


def test_a_block_that_was_cut_on_this_disk_is_fetched_again(server: str, reach: Reach) -> None:
    source = open_remote("x", [f"{server}/loose/part-000.tar"], reach=reach)
    whole = samples(source)
    for block in Path(reach.cache.folder, "blocks").rglob("???????"):
        block.write_bytes(block.read_bytes()[:100])
    assert samples(source) == whole


def test_a_shard_that_is_bad_on_the_server_is_told(
    server: str, root: Path, reach: Reach, packed: ShardSource
) -> None:
    folder = root / "bad"
    folder.mkdir()
    for file in (root / "packed").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    shard = folder / Path(packed.shards[packed.shard_of[5]]).name
    data = bytearray(shard.read_bytes())
    data[int(packed.offsets[5]) + 50] ^= 1
    shard.write_bytes(data)
    source = open_remote("x", [f"{server}/bad"], reach=reach)
    assert source.read(4) == packed.read(4)
    with pytest.raises(
        SampleError, match=r"bad/shard.*are not those that were packed \(CRC-32\), fetched twice"
    ):
        source.read(5)


def test_nobody_waits_for_blocks_that_no_thread_could_be_had_for(
    server: str, reach: Reach, packed: ShardSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_remote("x", [f"{server}/packed"], reach=reach)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start"):
            source.expect(source.ids("train"))
    assert samples(source) == samples(packed)


def test_a_cache_that_cannot_be_used_is_told(server: str, reach: Reach) -> None:
    source = open_remote("x", [f"{server}/packed"], reach=reach)
    Path(reach.cache.folder, "blocks").write_bytes(b"")
    for use in (lambda: source.read(0), lambda: source.expect(source.ids("train"))):
        with pytest.raises(
            RoomError, match=r"cannot use the cache of remote files.*Not a directory; free some"
        ):
            use()


def test_what_was_told_before_the_cache_was_emptied_is_not_fetched(proxy: Begin, reach: Reach) -> None:
    between = proxy(latency_seconds=0.1)
    one = replace(reach, connections=1)
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=one)
    before = between.requests
    shards = [source.shard_ids(shard) for shard in range(len(source.shards))]
    source.expect(np.concatenate(shards))
    source.forget()
    assert not list(Path(reach.cache.folder, "blocks").rglob("???????"))
    source.read(int(shards[-1][0]))
    assert between.requests - before <= 2 < len(shards)


def test_what_a_server_does_not_give_today_is_not_packed_as_empty(proxy: Begin, reach: Reach) -> None:
    harmed: list[Harm] = []
    between = proxy(lambda _: harmed[0] if harmed else None)
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=reach)
    harmed.append("busy")
    with pytest.raises(SampleError, match="status 503"):
        packed_copy(source, growth=0.01, on_error="skip")
    harmed.clear()
    copy = packed_copy(source, growth=0.01, on_error="skip").source
    assert all(samples(copy))


def test_a_server_that_is_gone_is_told(reach: Reach) -> None:
    with pytest.raises(
        RemoteError,
        match=r"/a.tar: cannot connect to 127.0.0.1:1 \(Connection refused\), after 3 tries; check",
    ):
        open_remote("x", ["http://127.0.0.1:1/a.tar"], reach=reach)
    assert read_journal(reach.journal or "").requests == 3


def test_a_server_that_goes_away_after_it_was_met_is_tried_as_often_as_ever(
    proxy: Begin, reach: Reach
) -> None:
    between = proxy()
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=reach)
    between.end()
    with pytest.raises(SampleError, match=rf"cannot connect to .*, after {QUICK.tries} tries") as caught:
        source.read(0)
    assert "Error:" not in str(caught.value)


def test_a_check_ends_where_every_connection_is_reset(proxy: Begin, reach: Reach) -> None:
    harmed: list[Harm] = []
    between = proxy(lambda _: harmed[0] if harmed else None)
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/packed"], reach=reach)
    harmed.append("reset")
    with pytest.raises(SourceError, match=rf"the connection broke off .*, after {QUICK.tries} tries"):
        check(SourceListing(source), 1)
    assert between.harmed == QUICK.tries


def test_a_check_goes_on_where_a_server_is_there_and_has_a_sample_not(server: str, reach: Reach) -> None:
    source = open_remote("x", [f"{server}/packed"], reach=reach)
    missing = replace(source.remote[0], address=f"{server}/packed/missing.tar")
    found = check(SourceListing(replace(source, remote=(missing, *source.remote[1:]))), 1)
    assert len(found.bad) == len(source.shard_ids(0))
    assert {fault.fault for fault in found.bad} == {"unreadable"}


def test_a_name_that_does_not_resolve_is_told_without_pythons_words(reach: Reach) -> None:
    with pytest.raises(
        RemoteError, match=r"cannot connect to nowhere.invalid:80 \([^()]+\), after 3"
    ) as caught:
        open_remote("x", ["http://nowhere.invalid/a.tar"], reach=reach)
    assert not any(word in str(caught.value) for word in ("Error", "Errno", "ssl:"))


@pytest.mark.parametrize("data", ["packed", "loose/part-{000..001}.tar"])
def test_a_check_ends_with_its_server_and_goes_on_with_it(
    data: str,
    proxy: Begin,
    capfd: pytest.CaptureFixture[str],
) -> None:
    between = proxy()
    address = f"http://127.0.0.1:{between.port}/{data}"
    listing = list_pieces(address)
    assert isinstance(listing.source, RemoteShardSource)
    listing.source = replace(listing.source, reach=replace(listing.source.reach, retries=QUICK))
    kept = Kept(listing)
    listing.source.forget()
    between.end()
    with pytest.raises(SourceError, match=rf"cannot connect to .*, after {QUICK.tries} tries"):
        check(listing, 2, kept=kept)
    state = kept.load()
    assert state is not None
    assert (state.samples, state.bad) == (0, {})
    assert capfd.readouterr() == ("", "")
    proxy(port=between.port)
    found = check(listing, 2, kept=kept)
    assert (found.samples, found.faults) == (len(listing), ())


READ = """
import sys
from throughput.sources.remote.blocks import BlockCache
from throughput.sources.remote.fetching import Reach
from throughput.sources.remote.opening import open_remote
address, folder, limit = sys.argv[1:]
source = open_remote("x", [address], reach=Reach(BlockCache(folder, int(limit)), journal=folder + "/journal"))
print("begun", flush=True)
sys.stdin.readline()
source.expect(source.ids("train"))
for sample in range(len(source.labels)):
    source.read(sample)
print("read", flush=True)
"""


def reader(server: str, reach: Reach) -> subprocess.Popen[str]:
    arguments = [
        sys.executable,
        "-c",
        READ,
        f"{server}/packed",
        reach.cache.folder,
        str(reach.cache.limit_bytes),
    ]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_processes_share_what_they_fetch(server: str, reach: Reach) -> None:
    readers = [reader(server, reach) for _ in range(3)]
    before = read_journal(reach.journal or "").bytes_read
    for process in readers:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in readers] == ["read\n"] * 3
    source = open_remote("x", [f"{server}/packed"], reach=Reach(reach.cache))
    size_bytes = sum(file.size_bytes for file in source.remote)
    assert size_bytes * 0.9 < read_journal(reach.journal or "").bytes_read - before <= size_bytes


def test_a_dead_process_keeps_nobody_waiting(server: str, reach: Reach, packed: ShardSource) -> None:
    source = open_remote("x", [f"{server}/packed"], reach=reach)
    code = f"""
import time
from throughput.sources.remote.blocks import BlockCache
from throughput.sources.remote.stores import RemoteFile
cache = BlockCache({reach.cache.folder!r}, {reach.cache.limit_bytes})
with cache.claimed({source.remote[0]!r}, range(0, 1)) as claimed:
    assert claimed == range(0, 1)
    print("claimed", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    with reach.cache.claimed(source.remote[0], range(1)) as claimed:
        assert not claimed
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert source.read(0) == packed.read(0)


def failing(*causes: FailedTryError) -> Callable[[], str]:
    left = list(causes)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return attempt


def test_waits_grow_and_are_drawn_anew_each_time() -> None:
    waits: list[float] = []
    retries = Retries(tries=12, first_seconds=0.1, most_seconds=2.0)
    for _ in range(30):
        with_retries(failing(*[failed_status(503, None)] * 11), "x", retries, waits.append)
    columns = [waits[number::11] for number in range(11)]
    for number, column in enumerate(columns):
        assert 0 <= min(column) < max(column) <= min(2.0, 0.1 * 2**number)
    assert max(columns[0]) < max(columns[-1])


def test_what_the_server_asks_for_is_waited_for_within_reason() -> None:
    waits: list[float] = []
    causes = [failed_status(429, None, asked) for asked in (3.0, 10_000.0)]
    assert with_retries(failing(*causes), "x", Retries(), waits.append) == "answer"
    assert 3.0 <= waits[0] <= 3.2
    assert 60.0 <= waits[1] <= 60.2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 412, 416])
def test_what_will_not_change_is_not_tried_again(status: int) -> None:
    waits: list[float] = []
    with pytest.raises(RemoteError, match=rf"x: status {status}, after 1 try; "):
        with_retries(failing(failed_status(status, None)), "x", Retries(), waits.append)
    assert not waits


def test_the_type_of_a_source_survives_a_change_of_splits(server: str, reach: Reach) -> None:
    source = open_remote("x", [f"{server}/packed"], reach=reach)
    assert isinstance(source.with_parts(1 - source.parts), RemoteShardSource)
