"""Every loader trains on shards of a server: each sample once, the same pixels, whatever the network does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from servers import Begin, now_and_then

from throughput.cli import main
from throughput.contracts import Work
from throughput.errors import ThroughputError
from throughput.measure.network import Network
from throughput.registry import load_loader
from throughput.sources import ShardSource
from throughput.sources.remote.fetching import Reach
from throughput.sources.remote.journal import read_journal
from throughput.sources.remote.opening import open_remote

LOADERS = (
    ("torchvision", {}),
    ("webdataset", {"shuffle": 5}),
    ("dali", {}),
    ("roi", {}),
    ("roi", {"order": "stream", "shuffle": 5}),
    ("roi", {"processes": 2}),
)


def read_epoch(name: str, options: dict[str, object], work: Work) -> dict[int, np.ndarray]:
    """Pixels by id. A sample that comes twice is an error."""
    factory = load_loader(name)
    chosen = factory.Options(**options)
    prepared = factory.prepare(work, chosen).work
    pixels: dict[int, np.ndarray] = {}
    with factory.open(prepared, chosen) as loader:
        for batch in loader.epoch(0):
            for sample, image in zip(batch.ids.tolist(), batch.images.numpy(), strict=True):
                assert sample not in pixels
                pixels[sample] = image
    return pixels


@pytest.mark.parametrize("order", ["global", "stream"])
def test_roi_packs_nothing_that_lies_on_a_server(
    order: str, server: str, reach: Reach, surroundings: Path
) -> None:
    roi = load_loader("roi")
    for folder, warned in (("packed", True), ("restart", False)):
        source = open_remote("x", [f"{server}/{folder}"], reach=reach)
        before = read_journal(reach.journal or "").requests
        prepared = roi.prepare(Work(source, batch_size=8), roi.Options(order=order))
        assert prepared.work.source is source
        assert ("pack with --restart before you upload" in (prepared.warning or "")) == warned
        assert (prepared.warning is None) != warned
        assert read_journal(reach.journal or "").requests == before
    assert not (surroundings / "packed").exists()


@pytest.mark.parametrize(("name", "options"), LOADERS, ids=str)
def test_a_loader_makes_of_remote_shards_what_it_makes_of_local_ones(
    name: str, options: dict[str, object], proxy: Begin, reach: Reach, root: Path
) -> None:
    between = proxy(now_and_then("reset", every=5), latency_seconds=0.002)
    source = open_remote("x", [f"http://127.0.0.1:{between.port}/restart"], reach=reach)
    local = ShardSource(
        **{
            **{name: getattr(source, name) for name in ShardSource.__dataclass_fields__},
            "shards": tuple(str(root / "restart" / Path(shard).name) for shard in source.shards),
        }
    )
    source.forget()
    before = read_journal(reach.journal or "").bytes_read
    work = Work(source, image_size=32, batch_size=8, workers=2)
    ours = read_epoch(name, options, work)
    theirs = read_epoch(name, options, Work(local, image_size=32, batch_size=8, workers=2))
    assert sorted(ours) == source.ids("train").tolist() == sorted(theirs)
    assert all(np.array_equal(ours[sample], theirs[sample]) for sample in ours)
    read = read_journal(reach.journal or "").bytes_read - before
    size_bytes = sum(file.size_bytes for file in source.remote)
    assert source.encoded_bytes() * 0.5 < read <= size_bytes
    assert between.harmed > 1


@pytest.mark.parametrize("name", ["torchvision", "webdataset", "dali", "roi"])
def test_images_that_went_bad_on_this_disk_are_fetched_again(
    name: str, server: str, reach: Reach, packed: ShardSource
) -> None:
    source = open_remote("x", [f"{server}/packed"], reach=reach)
    ids = source.ids("train")
    source.read(int(ids[0]))
    shard = source.shard_of[ids[0]]
    folder = Path(reach.cache.folder, "blocks", source.remote[shard].key[:2], source.remote[shard].key)
    block = folder / f"{0:07x}"
    data = bytearray(block.read_bytes())
    data[int(packed.offsets[ids[0]]) + 50] ^= 1
    block.write_bytes(data)
    work = Work(source, image_size=32, batch_size=8, workers=1)
    assert sorted(read_epoch(name, {}, work)) == ids.tolist()
    assert block.read_bytes() != data


@pytest.mark.parametrize("name", ["torchvision", "webdataset", "dali", "roi"])
def test_a_shard_that_disappears_is_named(name: str, server: str, root: Path, reach: Reach) -> None:
    folder = root / f"vanishing-{name}"
    folder.mkdir()
    for file in (root / "restart").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    source = open_remote("x", [f"{server}/{folder.name}"], reach=reach)
    source.forget()
    shard = folder / Path(source.shards[0]).name
    shard.unlink()
    with pytest.raises(ThroughputError, match=rf"{folder.name}/{shard.name}.*status 404"):
        read_epoch(name, {}, Work(source, image_size=32, batch_size=8, workers=2))


def test_a_bench_tells_what_the_network_gave(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results.json"
    monkeypatch.setenv("THROUGHPUT_REMOTE_CACHE", "1GB")
    monkeypatch.setenv("THROUGHPUT_NETWORK_LIMIT", "1GB/s")
    words = (
        f"throughput bench --loader roi --data {server}/restart --phases load --steps 3 --repeats 2 "
        f"--size 32 --batch 8 --workers 2 --no-certificate --cache cold --remote-cache 500MB "
        f"--network-limit 2.5MB/s --json {out}"
    )
    monkeypatch.setattr("sys.argv", words.split())
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    (row,) = json.loads(out.read_text())["rows"]
    remote = row["remote"]
    assert remote["limit_megabytes_per_second"] == 2.5
    assert remote["limit_given"] is True
    assert remote["bytes_read"] > 0
    assert remote["requests"] > 0
    assert remote["megabytes_per_second"] == pytest.approx(remote["bytes_read"] / 1e6 / remote["seconds"])
    assert row["cache"]["bytes_read"] > 0
    assert "MB from the server in" in told.out
    assert "of the 2.5 MB/s of --network-limit" in told.out


def test_images_on_this_machine_have_no_network(packed: ShardSource, tmp_path: Path) -> None:
    work = Work(packed, batch_size=8)
    network = Network(work, tmp_path / "journal")
    assert network.work is work
    assert network.reading() is None
