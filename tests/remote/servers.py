"""A real nginx for the tests, and a proxy in front of it that does harm by plan and counts."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from throughput.sources.remote.retrying import Retries

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

Harm = Literal["reset", "truncate", "busy"]
Plan = Callable[[int], Harm | None]
"""What happens to the n-th request, from 0."""

_READY_SECONDS = 20
_CHUNK_BYTES = 64 << 10
_BEFORE_HARM_BYTES = 10_000
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"

_CONFIG = """
{user}
daemon off;
master_process off;
worker_processes 1;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log {prefix}/access.log;
  client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy; fastcgi_temp_path {prefix}/fastcgi;
  uwsgi_temp_path {prefix}/uwsgi; scgi_temp_path {prefix}/scgi;
  limit_req_zone $server_name zone=few:1m rate=200r/s;
  server {{
    listen {host}:{port};
    location / {{ root {root}; }}
    location /whole/ {{ alias {root}/; max_ranges 0; }}
    location /limited/ {{ alias {root}/; limit_rate 4m; }}
    location /few/ {{
      alias {root}/; limit_req zone=few; limit_req_status 429; add_header Retry-After 0 always;
    }}
    location /moved/ {{ rewrite ^/moved/(.*)$ http://localhost:{port}/$1 redirect; }}
    location /to-file/ {{ return 302 file:///etc/hostname; }}
    location /closed/ {{ return 403; }}
  }}
}}
"""


@contextmanager
def nginx(root: Path, prefix: Path, host: str = "127.0.0.1", within: tuple[str, ...] = ()) -> Iterator[int]:
    """Serves ``root`` on a free port, which is yielded. within: the command that runs it, in a namespace."""
    assert NGINX is not None
    prefix.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = prefix / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_CONFIG.format(user=user, prefix=prefix, host=host, port=port, root=root))
    said = prefix / "said"
    with said.open("wb") as out:
        command = [*within, NGINX, "-p", str(prefix), "-c", str(config)]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _wait_for(host, port, process, said)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(host: str, port: int, process: subprocess.Popen[bytes], said: Path) -> None:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, said.read_text()
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"nginx did not answer in {_READY_SECONDS} s: {said.read_text()}")


class Proxy:
    """Passes requests on to a port. requests: how many came. harmed: how many met with harm.

    bytes_per_second: of all connections together. latency_seconds: before each answer.
    """

    def __init__(
        self,
        upstream: int,
        plan: Plan = lambda _: None,
        latency_seconds: float = 0.0,
        bytes_per_second: float | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.requests = self.harmed = self.passed_bytes = 0
        self.port = port
        self._upstream = (host, upstream)
        self._plan = plan
        self._latency_seconds = latency_seconds
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(_READY_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """No connection is left, and none is taken any more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """One connection. A client asks again only when it has its answer, so harm meets the next one."""
        upstream, request = await asyncio.open_connection(*self._upstream)
        harm_next: deque[Harm] = deque()
        passing = asyncio.create_task(self._pass(upstream, answer, harm_next))
        try:
            while asked := await client.read(_CHUNK_BYTES):
                harm = self._plan(self.requests)
                self.requests += 1
                self.harmed += harm is not None
                if harm == "busy":
                    answer.write(_BUSY)
                    continue
                if harm is not None:
                    harm_next.append(harm)
                if self._latency_seconds:
                    await asyncio.sleep(self._latency_seconds)
                request.write(asked)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            passing.cancel()
            request.close()
            _close(answer)

    async def _pass(
        self, upstream: asyncio.StreamReader, answer: asyncio.StreamWriter, harm_next: deque[Harm]
    ) -> None:
        try:
            while data := await upstream.read(_CHUNK_BYTES):
                await self._leave(len(data))
                if harm_next:
                    answer.write(data[: min(_BEFORE_HARM_BYTES, len(data) // 2)])
                    await answer.drain()
                    if harm_next.popleft() == "reset":
                        _reset(answer.get_extra_info("socket").fileno())
                    return
                self.passed_bytes += len(data)
                answer.write(data)
                await answer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            _close(answer)

    async def _leave(self, size_bytes: int) -> None:
        """A bucket of tokens for all connections: each chunk has its time on the line."""
        if self._bytes_per_second is not None:
            now = self._loop.time()
            self._free_at = max(now, self._free_at) + size_bytes / self._bytes_per_second
            await asyncio.sleep(self._free_at - now)


def _reset(descriptor: int) -> None:
    """End a connection with RST: connecting it to nowhere (connect(2), AF_UNSPEC)."""
    nowhere = struct.pack("=H14x", socket.AF_UNSPEC)
    ctypes.CDLL(None).connect(descriptor, nowhere, len(nowhere))


def _close(answer: asyncio.StreamWriter) -> None:
    """With FIN at once: processes that were forked meanwhile hold the socket open as well."""
    with suppress(OSError, RuntimeError):
        answer.write_eof()
    answer.close()


Begin = Callable[..., Proxy]
"""Begins a proxy in front of the server: of the fixture ``proxy``."""
QUICK = Retries(tries=5, first_seconds=0.001, most_seconds=0.002)
"""A test does not wait for a server to recover."""


def now_and_then(harm: Harm, every: int, first: int = 3) -> Plan:
    """Harm to one request in ``every``, from the ``first`` on."""
    return lambda number: harm if number >= first and (number - first) % every == 0 else None
