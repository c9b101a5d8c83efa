"""A block's data in the page cache: put in the state that was asked for, proved, and what the device gave."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from throughput.contracts import Progress, Source
from throughput.errors import LoaderError, OptionError
from throughput.measure.pagecache import (
    counts_reads,
    device_bytes_read,
    require_cold,
    require_warm,
    resident_share,
)
from throughput.measure.plan import CacheMode
from throughput.results import CacheEvidence, Phase, PhaseName
from throughput.sources.remote.source import RemoteShardSource

_LEAST_SHARE = 0.8
"""Of what a cold pass delivered, so much must have come from the device, and lie in the page cache then."""


class Storage:
    """mode ``any`` leaves the page cache as it is and gives no evidence."""

    def __init__(self, source: Source, mode: CacheMode, progress: Progress) -> None:
        self.mode = mode
        self._source = source
        self._progress = progress
        if mode == "warm" and isinstance(source, RemoteShardSource):
            raise OptionError(
                f"--cache warm: the images lie on a server, {source.location}: leave it out (what was read "
                "once is in the cache of --remote-cache), or choose cold, which empties that"
            )
        self._files = source.files() if mode != "any" else ()
        self._resident: list[float] = []
        self._bytes_read = 0
        self._bytes_delivered = 0.0
        self._compared: tuple[PhaseName, Phase, Phase] | None = None

    def warm(self) -> None:
        """For mode ``warm``: read what is not in the page cache, and prove that all is."""
        if self.mode == "warm":
            self._resident.append(require_warm(self._files, self._progress))

    @contextmanager
    def cold(self) -> Iterator[Callable[[int], None]]:
        """Evict the files and prove it; on leaving, prove that the device was read.

        The pass inside tells how many images it delivered. Raises LoaderError where nothing was read, and
        where the kernel does not count what is read from this file system.
        """
        if isinstance(self._source, RemoteShardSource):
            with self._cold_server(self._source) as told:
                yield told
            return
        self._source.forget()
        resident = require_cold(self._files, self._progress)
        if not counts_reads(self._files):
            raise OptionError(
                f"--cache cold: nobody counts what is read from the device under {self._source.location} "
                "(as on some network and user-space file systems): put the data on a local disk"
            )
        self._resident.append(resident)
        before = device_bytes_read(os.getpid())
        mean_bytes = self._source.encoded_bytes() / len(self._source.labels)
        delivered = 0.0

        def deliver(images: int) -> None:
            nonlocal delivered
            delivered = images * mean_bytes

        yield deliver
        read = device_bytes_read(os.getpid()) - before
        # A pass over several epochs reads a file once; and what else was read does not count as the data.
        wanted = _LEAST_SHARE * min(delivered, self._source.encoded_bytes())
        found = resident_share(self._files) * sum(path.stat().st_size for path in self._files)
        if min(read, found) < wanted:
            raise LoaderError(
                f"a cold pass delivered {delivered / 1e6:,.1f} MB of images and read {read / 1e6:,.1f} MB "
                f"from the device; of {self._source.location}, {found / 1e6:,.1f} MB lie in the page cache "
                "after it: the loader keeps a copy of its own, or reads something else"
            )
        self._bytes_read += read
        self._bytes_delivered += delivered

    @contextmanager
    def _cold_server(self, source: RemoteShardSource) -> Iterator[Callable[[int], None]]:
        """The same for images on a server: cold is an empty cache of blocks."""
        source.forget()
        self._resident.append(0.0)
        before = source.bytes_read()
        mean_bytes = source.encoded_bytes() / len(source.labels)
        delivered = 0.0

        def deliver(images: int) -> None:
            nonlocal delivered
            delivered = images * mean_bytes

        yield deliver
        read = source.bytes_read() - before
        if read < _LEAST_SHARE * min(delivered, source.encoded_bytes()):
            raise LoaderError(
                f"a cold pass delivered {delivered / 1e6:,.1f} MB of images and read {read / 1e6:,.1f} MB "
                f"from the server of {source.location}: the loader keeps a copy of its own"
            )
        self._bytes_read += read
        self._bytes_delivered += delivered

    def compare(self, name: PhaseName, cold: Phase, warm: Phase) -> None:
        """Note the same batches from a cold and from a warm cache; those of the last phase are kept."""
        self._compared = (name, cold, warm)

    def evidence(self) -> CacheEvidence | None:
        """All that was proved and read; None where the page cache was left as it was."""
        if self.mode == "any" or not self._resident:
            return None
        evidence = CacheEvidence(
            mode=self.mode,
            files_bytes=self._source.encoded_bytes(),
            resident_before=max(self._resident) if self.mode == "cold" else min(self._resident),
            bytes_read=self._bytes_read,
            bytes_delivered=round(self._bytes_delivered),
        )
        if self._compared is None:
            return evidence
        name, cold, warm = self._compared
        return replace(
            evidence,
            phase=name,
            images=cold.passes[0].images,
            cold_seconds=cold.passes[0].seconds,
            warm_seconds=warm.passes[0].seconds,
            startup_seconds=warm.first_batch_seconds,
        )
