"""Servers that look at no condition, or send something else than was asked for: none of it is taken."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from throughput.errors import SampleError, SourceError
from throughput.sources import ShardSource
from throughput.sources.remote import http
from throughput.sources.remote.fetching import Reach
from throughput.sources.remote.opening import open_remote
from throughput.sources.remote.retrying import Retries
from throughput.sources.remote.source import RemoteShardSource

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Told:
    """What a server sends. ranged: whether it sends parts. shift: by how many bytes these are others.

    version: the headers that tell it. more: bytes that it sends behind a whole file. goes_on: whether more
    than the first byte comes.
    """

    def __init__(self, root: Path, *, ranged: bool = True, **version: str) -> None:
        self.root, self.ranged, self.version = root, ranged, version
        self.shift, self.more = 0, b""
        self.goes_on = threading.Event()
        self.goes_on.set()

    def answer(self, path: str, asked: str | None) -> tuple[int, dict[str, str], bytes]:
        file = self.root / path.lstrip("/")
        if not file.is_file():
            return 404, {}, b""
        data = file.read_bytes()
        found = _RANGE.fullmatch(asked or "")
        headers = {name.replace("_", "-"): text for name, text in self.version.items()}
        if not found or not self.ranged:
            return 200, headers, data + self.more
        start, end = int(found[1]) + self.shift, int(found[2]) + 1 + self.shift
        told = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
        return 206, headers | told, (data + bytes(self.shift))[start:end]


@contextmanager
def serving(told: Told) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = told.answer(self.path, self.headers["Range"])
            self.send_response(status)
            for name, text in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, text)
            self.end_headers()
            with suppress(ConnectionError):  # the other side has given it up
                self.wfile.write(body[:1])
                told.goes_on.wait(60)
                self.wfile.write(body[1:])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def loose(tmp_path: Path, packed: ShardSource) -> Path:
    """A folder with one shard that was not packed: nobody has checksums of its samples."""
    (tmp_path / "a.tar").write_bytes(Path(packed.shards[0]).read_bytes())
    return tmp_path


def opened(address: str, reach: Reach) -> RemoteShardSource:
    """A shard of which nothing is in the cache but where its samples lie."""
    source = open_remote("x", [f"{address}/a.tar"], reach=reach)
    source.forget()
    return source


@pytest.mark.parametrize("ranged", [True, False])
@pytest.mark.parametrize(
    ("header", "first", "then"),
    [
        ("ETag", 'W/"1"', 'W/"2"'),
        ("ETag", '"1"', '"2"'),
        ("Last_Modified", "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT"),
    ],
)
def test_another_version_is_not_taken_though_the_server_sends_it(
    header: str, first: str, then: str, ranged: bool, loose: Path, reach: Reach
) -> None:
    told = Told(loose, ranged=ranged, **{header: first})
    with serving(told) as address:
        source = opened(address, reach)
        assert source.read(0)
        source.forget()
        told.version = {header: then}
        with pytest.raises(SampleError, match=r"status 412 \(another version\).*it changed since"):
            source.read(0)
    assert not list(Path(reach.cache.folder, "blocks").rglob("???????"))


def test_other_bytes_than_those_asked_for_are_not_taken(loose: Path, reach: Reach) -> None:
    told = Told(loose, ETag='"1"')
    with serving(told) as address:
        source = opened(address, reach)
        told.shift = 512
        with pytest.raises(SampleError, match="the server sent other bytes, 512-"):
            source.read(0)


def test_a_file_that_goes_on_is_given_up(loose: Path, reach: Reach) -> None:
    told = Told(loose, ranged=False, ETag='"1"')
    with serving(told) as address:
        source = opened(address, reach)
        told.more = bytes(1 << 20)
        with pytest.raises(SampleError, match=r"status 412 \(another size\)"):
            source.read(0)


def test_a_small_file_that_is_none_is_given_up(
    loose: Path, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    (loose / "manifest.json").write_bytes(bytes(70_000))
    monkeypatch.setattr(http, "MOST_SMALL_BYTES", 65_536)
    with (
        serving(Told(loose)) as address,
        pytest.raises(SourceError, match=r"manifest.json: it has more than"),
    ):
        open_remote("x", [address], reach=reach)


def test_an_answer_that_never_ends_is_given_up(
    loose: Path, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(loose, ETag='"1"')
    with serving(told) as address:
        source = opened(address, replace(reach, retries=Retries(2, 0.001)))
        monkeypatch.setattr(http, "_PATIENCE_SECONDS", 0)
        monkeypatch.setattr(http, "_LEAST_BYTES_PER_SECOND", 1_000_000)
        told.goes_on.clear()
        with pytest.raises(SampleError, match=r"sent less than 1000000 bytes a second, after 2 tries"):
            source.read(0)
        told.goes_on.set()
