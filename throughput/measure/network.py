"""What a loader reads from servers while it is measured, and what the network gives at best."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from throughput.contracts import Progress, Source, Work
from throughput.quantities import parse_rate
from throughput.ranks.company import ALONE, Company
from throughput.results import RemoteReading
from throughput.sources.remote.journal import read_journal
from throughput.sources.remote.retrying import FailedTryError
from throughput.sources.remote.source import RemoteShardSource
from throughput.sources.remote.stores import RemoteFile, store_of
from throughput.threads import in_threads

_LIMIT_SECONDS = 1.5
_CONNECTIONS = 16
_FIRST_BYTES, _MOST_BYTES = 256 << 10, 4 << 20
_QUICK_SECONDS = 0.1
"""A request that is answered sooner is too small to show what the network gives."""


class Network:
    """The work with its requests noted, and what they add up to. journal: a file that is not there yet."""

    def __init__(self, work: Work, journal: Path) -> None:
        self._journal = str(journal)
        self.work = work
        if isinstance(work.source, RemoteShardSource):
            self.work = replace(work, source=work.source.noted_in(self._journal))

    def warnings(self) -> tuple[str, ...]:
        """What casts doubt on how the images are read."""
        source = self.work.source
        if not isinstance(source, RemoteShardSource):
            return ()
        return _without_ranges(source) + _beyond_cache(source)

    def reading(self) -> RemoteReading | None:
        """None where the images lie on this machine."""
        source = self.work.source
        if not isinstance(source, RemoteShardSource):
            return None
        noted = read_journal(self._journal)
        limit = source.limit_bytes_per_second
        return RemoteReading(
            bytes_read=noted.bytes_read,
            requests=noted.requests,
            retries=noted.retries,
            cache_hits=noted.hits,
            seconds=noted.seconds,
            limit_megabytes_per_second=None if limit is None else limit / 1e6,
            limit_given=source.limit_given,
        )


def _without_ranges(source: RemoteShardSource) -> tuple[str, ...]:
    """How much more is read from a server that has no ranges, at worst: a shard for each of its images."""
    whole = [shard for shard, file in enumerate(source.remote) if not file.ranged]
    if not whole:
        return ()
    size_bytes = source.size_bytes()
    if size_bytes <= source.reach.cache.limit_bytes:
        cost = "before the first of its images can be used"
    else:
        again_bytes = sum(source.remote[shard].size_bytes * len(source.shard_ids(shard)) for shard in whole)
        ranged_bytes = size_bytes - sum(source.remote[shard].size_bytes for shard in whole)
        times = (again_bytes + ranged_bytes) / size_bytes
        cost = f"for each image that the cache has dropped, up to {times:,.0f} times the data in an epoch"
    return (
        "this server sends no parts of files (no Range support): each shard is fetched whole, "
        f"{cost}; copy the shards to a server that sends parts",
    )


def _beyond_cache(source: RemoteShardSource) -> tuple[str, ...]:
    size_bytes, limit_bytes = source.size_bytes(), source.reach.cache.limit_bytes
    if size_bytes <= limit_bytes:
        return ()
    return (
        f"the shards hold {size_bytes / 1e9:,.1f} GB and --remote-cache {limit_bytes / 1e9:,.1f} GB: "
        "each epoch reads them anew, and a loader that does not read shard by shard reads parts more "
        "than once; raise --remote-cache, or choose one that does (webdataset, or roi with order=stream)",
    )


def with_limit(source: Source, progress: Progress, company: Company = ALONE) -> Source:
    """The source with what its network gives: as THROUGHPUT_NETWORK_LIMIT says, else as measured now.

    A source on this machine as it is. company: of several ranks the first measures, for all. Raises
    OptionError for a variable that is no rate.
    """
    if not isinstance(source, RemoteShardSource):
        return source
    given = os.environ.get("THROUGHPUT_NETWORK_LIMIT")
    if given:
        rate = parse_rate("--network-limit", given)
        return replace(source, limit_bytes_per_second=rate, limit_given=True)
    progress("measuring the network", 0, None)
    limit = company.first(lambda: measure_limit(source))
    return replace(source, limit_bytes_per_second=limit)


def measure_limit(source: RemoteShardSource, seconds: float = _LIMIT_SECONDS) -> float | None:
    """Bytes a second of a plain download of the shards by parallel requests, past the cache, for ``seconds``.

    None where the server sends no parts of files, or no request succeeded.
    """
    files = [file for file in source.remote if file.ranged and file.size_bytes]
    if not files:
        return None
    piece_bytes = _FIRST_BYTES
    begin = end = time.perf_counter()

    def ranges() -> Iterator[tuple[RemoteFile, int, int]]:
        places = dict.fromkeys(files, 0)
        for file in cycle(files):
            if time.perf_counter() - begin >= seconds:
                return
            start = places[file] if places[file] < file.size_bytes else 0
            places[file] = min(start + piece_bytes, file.size_bytes)
            yield file, start, places[file]

    def fetch(wanted: tuple[RemoteFile, int, int]) -> tuple[int, float]:
        file, start, stop = wanted
        asked = time.perf_counter()
        try:
            return len(store_of(file.address).read(file, start, stop)), time.perf_counter() - asked
        except FailedTryError:
            return 0, 0.0

    came_bytes = 0
    with closing(in_threads(fetch, ranges(), _CONNECTIONS, under_way=_CONNECTIONS)) as fetched:
        for size_bytes, took_seconds in fetched:
            came_bytes += size_bytes
            end = time.perf_counter()
            if size_bytes and took_seconds < _QUICK_SECONDS:
                piece_bytes = min(2 * piece_bytes, _MOST_BYTES)
    return came_bytes / (end - begin) if came_bytes else None
