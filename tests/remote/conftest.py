"""Shards on a real server, and a cache of each test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import NGINX, QUICK, Begin, Plan, Proxy, nginx

from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack
from throughput.sources.remote.blocks import BlockCache
from throughput.sources.remote.fetching import Reach
from throughput.testing import write_contract_images


@pytest.fixture(autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, away from the test's own; nothing goes through a proxy of the machine's."""
    folder = tmp_path_factory.mktemp("c")
    monkeypatch.setenv("THROUGHPUT_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _threads_end() -> Iterator[None]:
    """Those that fetch end by themselves once there is nothing to do; other tests count threads."""
    yield
    for thread in threading.enumerate():
        if thread.name == "throughput-fetch":
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server has: packed shards in ``packed`` and ``restart``, loose ones in ``loose``."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THROUGHPUT_CACHE", str(tmp_path_factory.mktemp("c")))
        images = open_source(write_contract_images(tmp_path_factory.mktemp("data") / "images", 20))
        pack(images, root / "packed", samples_per_shard=9)
        pack(images, root / "restart", samples_per_shard=9, growth=0.01)
        pack(images, root / "gone", samples_per_shard=9)
    (root / "loose").mkdir()
    for number, shard in enumerate(sorted((root / "packed").glob("*.tar"))):
        (root / "loose" / f"part-{number:03d}.tar").write_bytes(shard.read_bytes())
    return root


@pytest.fixture(scope="session")
def port(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that has ``root``."""
    if NGINX is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    with nginx(root, tmp_path_factory.mktemp("n")) as port:
        yield port


@pytest.fixture
def server(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def proxy(port: int) -> Iterator[Begin]:
    """Begin a proxy in front of the server; it ends with the test."""
    begun: list[Proxy] = []

    def begin(plan: Plan = lambda _: None, **options: float) -> Proxy:
        begun.append(Proxy(port, plan, **options).__enter__())
        return begun[-1]

    yield begin
    for one in begun:
        one.__exit__()


@pytest.fixture
def reach(surroundings: Path) -> Reach:
    """A cache of 64 MiB, impatient retries, and a journal."""
    folder = surroundings / "remote"
    folder.mkdir()
    return Reach(BlockCache(str(folder), 64 << 20), retries=QUICK, journal=str(folder / "journal"))


@pytest.fixture(scope="session")
def packed(root: Path) -> ShardSource:
    """The shards in ``packed`` as files on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THROUGHPUT_CACHE", str(root.parent))
        source = open_source(root / "packed")
    assert isinstance(source, ShardSource)
    return source
