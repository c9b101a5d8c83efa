"""Blocks of remote files, asked for by those who need them now and told of by those who will need them.

Threads fetch what was told of, in that order, neighbours in one request. Whoever needs a block that is not
here yet waits for it if it is under way, in this process or another, and else fetches it at once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVar

from throughput.sources.remote.addresses import shown
from throughput.sources.remote.blocks import BLOCK_BYTES, BlockCache, block_bytes, blocks_of
from throughput.sources.remote.journal import note_hits, note_request
from throughput.sources.remote.retrying import FailedTryError, RemoteError, Retries, with_retries
from throughput.sources.remote.stores import RemoteFile, Store, store_of

Result = TypeVar("Result")

_FIRST_BLOCKS, _MOST_BLOCKS = 2, 32
"""In one request. On a slow network, long ones would all be half done when the first sample is needed."""
_QUICK_SECONDS, _SLOW_SECONDS = 0.1, 0.4
"""Requests that take less than the one get longer, more than the other shorter."""
_POLL_SECONDS = 0.005
_IDLE_SECONDS = 2.0
"""After which a thread that has nothing to fetch ends; another starts when there is."""
_PATIENCE_SECONDS = 120.0
"""After which what another process fetches is fetched here as well."""


@dataclass(frozen=True)
class Reach:
    """How remote files are reached.

    connections: that a process keeps busy. journal: the file in which requests are noted.
    """

    cache: BlockCache
    connections: int = 8
    retries: Retries = field(default_factory=Retries)
    journal: str | None = None


class _Run(NamedTuple):
    """Neighbouring blocks of one file, with what will be known of each."""

    file: RemoteFile
    blocks: range
    futures: list[Future[bytes | None]]


def _length(answer: object) -> int:
    return len(answer) if isinstance(answer, bytes) else 0


class Fetcher:
    """Of one process; its threads start with the first block that they are told of."""

    def __init__(self, reach: Reach) -> None:
        self._cache = reach.cache
        self._reach = reach
        self._runs: SimpleQueue[_Run] = SimpleQueue()
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, int], Future[bytes | None]] = {}
        self._threads: list[threading.Thread] = []
        self._most_blocks = _FIRST_BLOCKS
        self._is_met = True

    @property
    def cache(self) -> BlockCache:
        """Where blocks are kept, and what else is kept of servers."""
        return self._cache

    def meet(self) -> None:
        """A run begins: until a server has answered, one that cannot be reached is given up sooner."""
        self._is_met = False

    def expect(self, ranges: Iterable[tuple[RemoteFile, int, int]]) -> None:
        """Have bytes ``start`` to ``end`` of files fetched soon, in this order. Returns at once.

        Raises RoomError where the cache cannot be looked into.
        """
        hits = 0
        runs: list[_Run] = []
        with self._lock, self._told(runs):
            for file, start, end in ranges:
                for block in blocks_of(start, end):
                    if (file.key, block) in self._under_way:
                        continue
                    if self._cache.has(file, block):
                        hits += 1
                        continue
                    future: Future[bytes | None] = Future()
                    self._under_way[file.key, block] = future
                    last = runs[-1] if runs else None
                    if (
                        last
                        and last.file == file
                        and last.blocks.stop == block
                        and len(last.futures) < self._most_blocks
                    ):
                        last.futures.append(future)
                        runs[-1] = last._replace(blocks=range(last.blocks.start, block + 1))
                    else:
                        runs.append(_Run(file, range(block, block + 1), [future]))
            if runs:
                self._start()
            # Within the lock: a thread that finds nothing to do ends under it.
            for run in runs:
                self._runs.put(run)
        note_hits(self._reach.journal, hits)

    @contextmanager
    def _told(self, runs: list[_Run]) -> Iterator[None]:
        """Nobody waits for blocks whose telling failed, as where there is no room for one more thread."""
        try:
            yield
        except BaseException as error:
            self._not_fetched(runs)
            if isinstance(error, OSError):
                raise self._cache.unusable(error) from error
            raise

    def _not_fetched(self, runs: Iterable[_Run]) -> None:
        """Let those who wait for these blocks know; under the lock."""
        for run in runs:
            for block, future in zip(run.blocks, run.futures, strict=True):
                del self._under_way[run.file.key, block]
                future.set_result(None)

    def settle(self) -> None:
        """Forget what was told of and is not begun, and wait for what is."""
        waiting: list[_Run] = []
        with self._lock:
            with suppress(Empty):
                while True:
                    waiting.append(self._runs.get_nowait())
            self._not_fetched(waiting)
            under_way = list(self._under_way.values())
        wait(under_way)

    def read(self, file: RemoteFile, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end`` of a file. Raises RemoteError, and RoomError for a full disk."""
        pieces = []
        try:
            for block in blocks_of(start, end):
                begin = block * BLOCK_BYTES
                pieces.append(self._piece(file, block, max(0, start - begin), min(BLOCK_BYTES, end - begin)))
        except OSError as error:
            raise self._cache.unusable(error) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def drop(self, file: RemoteFile, start: int, end: int) -> None:
        """Bytes ``start`` to ``end`` turned out to be wrong: they will be fetched anew."""
        for block in blocks_of(start, end):
            self._cache.drop(file, block)

    def asked(
        self,
        attempt: Callable[[Store], Result],
        address: str,
        what: str = "",
        read_bytes: Callable[[Result], int] = _length,
    ) -> Result:
        """What a store answers, tried again where that may help, and noted. Raises RemoteError.

        what: names the bytes in a message. read_bytes: how many the answer is.
        """
        store = store_of(address)
        tries = 0

        def once() -> Result:
            nonlocal tries
            tries += 1
            begin, came_bytes = time.perf_counter(), 0
            try:
                answer = attempt(store)
                self._is_met = True
                came_bytes = read_bytes(answer)
            except FailedTryError as failure:
                self._is_met = self._is_met or failure.connection != "none"
                raise
            finally:
                end = time.perf_counter()
                note_request(self._reach.journal, begin, end, came_bytes, again=tries > 1)
            return answer

        return with_retries(once, shown(address) + what, self._reach.retries, is_met=lambda: self._is_met)

    def _piece(self, file: RemoteFile, block: int, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end`` of a block, wherever it may be."""
        given_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with self._lock:
                under_way = self._under_way.get((file.key, block))
            found = under_way.result() if under_way else None
            if found is not None:
                return found[start:end]
            here = self._cache.read(file, block, start, end)
            if here is not None:
                return here
            with self._cache.claimed(file, range(block, block + 1)) as claimed:
                if claimed or time.monotonic() > given_up:
                    return self._fetch(file, range(block, block + 1))[0][start:end]
            if not self._cache.has(file, block):
                time.sleep(_POLL_SECONDS)  # another process fetches it

    def _start(self) -> None:
        """As many threads as there may be connections; under the lock."""
        for _ in range(len(self._threads), self._reach.connections):
            thread = threading.Thread(target=self._serve, name="throughput-fetch", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:
                    raise
                return  # the system allows no more: those that there are do it
            self._threads.append(thread)

    def _serve(self) -> None:
        while (run := self._next()) is not None:
            done: list[bytes | None] = [None] * len(run.blocks)
            failure: RemoteError | None = None
            try:
                for blocks, fetched in self._fetched(run):
                    begin = blocks.start - run.blocks.start
                    done[begin : begin + len(blocks)] = fetched
            except RemoteError as error:
                failure = error
            except Exception:  # noqa: BLE001 - whoever needs a block that is not here fetches it, and hears why not
                pass
            with self._lock:
                for block in run.blocks:
                    del self._under_way[run.file.key, block]
            for future, data in zip(run.futures, done, strict=True):
                if data is None and failure is not None:
                    # It was tried often enough: who waits would else wait for as many tries again.
                    future.set_exception(failure)
                else:
                    future.set_result(data)
            del run, done, failure

    def _next(self) -> _Run | None:
        """What to fetch next; None where nothing came for a while: then this thread is to end."""
        while True:
            try:
                return self._runs.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._runs.empty():
                        self._threads.remove(threading.current_thread())
                        return None

    def _fetched(self, run: _Run) -> Iterator[tuple[range, list[bytes]]]:
        """Fetch the blocks of a run, but for those that another process has fetched or is fetching."""
        left = run.blocks
        while left:
            with self._cache.claimed(run.file, left) as claimed:
                if claimed:
                    yield claimed, self._fetch(run.file, claimed)
            left = left[max(1, len(claimed)) :]

    def _fetch(self, file: RemoteFile, blocks: range) -> list[bytes]:
        """Neighbouring blocks from the server, kept in the cache."""
        if not file.ranged:
            return self._fetch_whole(file, blocks)
        start = blocks.start * BLOCK_BYTES
        end = min(blocks.stop * BLOCK_BYTES, file.size_bytes)
        begin = time.perf_counter()
        body = self.asked(
            lambda store: store.read(file, start, end), file.address, f", bytes {start}-{end - 1}"
        )
        self._suit(len(blocks), time.perf_counter() - begin)
        return self._kept(file, blocks, body)

    def _suit(self, blocks: int, took_seconds: float) -> None:
        """Make requests longer or shorter, after one of ``blocks`` that had as many as any."""
        if blocks == self._most_blocks and took_seconds < _QUICK_SECONDS:
            self._most_blocks = min(2 * blocks, _MOST_BLOCKS)
        elif blocks == self._most_blocks and took_seconds > _SLOW_SECONDS:
            self._most_blocks = max(blocks // 2, 1)

    def _kept(self, file: RemoteFile, blocks: range, body: bytes) -> list[bytes]:
        data = []
        for place, block in enumerate(blocks):
            begin = place * BLOCK_BYTES
            data.append(body[begin : begin + block_bytes(file, block)])
            self._cache.write(file, block, data[-1])
        return data

    def _fetch_whole(self, file: RemoteFile, blocks: range) -> list[bytes]:
        """All blocks of a file that its server only gives whole; those that are asked for are returned."""
        with self._cache.claimed_whole(file):
            here = [self._cache.read(file, block, 0, block_bytes(file, block)) for block in blocks]
            if None not in here:
                return [data for data in here if data is not None]
            wanted: dict[int, bytes] = {}
            self.asked(
                lambda store: store.stream(file, _Cutter(self._cache, file, blocks, wanted)),
                file.address,
                read_bytes=lambda _: file.size_bytes,
            )
        return [wanted[block] for block in blocks]


class _Cutter:
    """Keeps a file's blocks as its bytes come, and hands those that are asked for over in ``wanted``."""

    def __init__(self, cache: BlockCache, file: RemoteFile, blocks: range, wanted: dict[int, bytes]) -> None:
        self._cache, self._file = cache, file
        self._blocks, self._wanted = blocks, wanted
        self._rest = bytearray()
        self._block = 0

    def __call__(self, piece: bytes) -> None:
        self._rest.extend(piece)
        while 0 < (size_bytes := block_bytes(self._file, self._block)) <= len(self._rest):
            data = bytes(self._rest[:size_bytes])
            del self._rest[:size_bytes]
            self._cache.write(self._file, self._block, data)
            if self._block in self._blocks:
                self._wanted[self._block] = data
            self._block += 1


def fetcher_of(reach: Reach) -> Fetcher:
    """The fetcher of this process."""
    return _fetcher(reach, os.getpid())


@cache
def _fetcher(reach: Reach, process: int) -> Fetcher:  # noqa: ARG001 - threads and connections do not pass a fork
    return Fetcher(reach)
