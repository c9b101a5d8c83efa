"""The check: every piece of a listing is looked at, once, whatever interrupts it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from throughput.checking.examine import CHECKSUM, Seen
from throughput.checking.findings import Fault, Findings, Remark, Tally
from throughput.checking.kept import Kept
from throughput.checking.pieces import Listing, Piece
from throughput.checking.pool import look_in_parallel
from throughput.checking.stopping import stop_requests
from throughput.contracts import Progress, no_progress, require_count
from throughput.errors import SourceError

_TELL_SECONDS = 0.1


def check(
    listing: Listing,
    workers: int,
    *,
    kept: Kept | None = None,
    again: bool = False,
    progress: Progress = no_progress,
) -> Findings:
    """Look at every sample, in worker processes.

    kept: where an interrupted check has left off, and this one leaves off where it is interrupted.
    again: begin anew all the same. Raises OptionError for a number of workers below 1; KeyboardInterrupt
    after SIGINT or SIGTERM, when all workers are gone and the state is saved; SourceError, likewise, where
    the server of the samples does not answer any more: all others would wait as long for it.
    """
    require_count("workers (--workers)", workers)
    begin = time.monotonic()
    tally = (None if again or kept is None else kept.load()) or Tally()
    before_seconds, resumed_samples = tally.seconds, tally.samples

    def seconds() -> float:
        return before_seconds + time.monotonic() - begin

    with stop_requests() as stop:
        try:
            todo = _todo(listing, tally)
            with closing(look_in_parallel(todo, workers, listing.source, stop)) as all_seen:
                told = begin
                for seen in all_seen:
                    _note(tally, listing, seen)
                    # A terminal is slower than a decoder.
                    if (now := time.monotonic()) - told > _TELL_SECONDS:
                        progress("checking samples", tally.done, len(listing))
                        told = now
                    if kept is not None:
                        kept.save_now_and_then(tally, seconds())
        except BaseException:
            if kept is not None:
                kept.save(tally, seconds())
            raise
        if kept is not None:
            kept.forget()
    return _findings(listing, tally, seconds(), workers, resumed_samples)


def _todo(listing: Listing, tally: Tally) -> Iterator[Piece]:
    done = tally.beyond.copy()
    first = tally.below
    return (listing.piece(number) for number in range(first, len(listing)) if number not in done)


def _note(tally: Tally, listing: Listing, seen: Seen) -> None:
    if seen.gone is not None:
        raise SourceError(seen.gone)
    wrong: tuple[str, str] | None = seen.wrong
    if seen.digest is not None and not listing.is_as_packed(seen.number, seen.digest):
        digest = "CRC-32" if seen.is_sample else "SHA-256"
        cause = f"its bytes are not those that were packed ({digest})"
        wrong = (CHECKSUM, cause if wrong is None else f"{cause}; {wrong[1]}")
    if wrong is not None:
        tally.bad[seen.number] = (wrong[0], wrong[1])
    for kind in seen.remarks:
        tally.remark(kind, seen.number)
    tally.bytes += seen.bytes
    tally.samples += seen.is_sample
    tally.finish(seen.number)


def _findings(listing: Listing, tally: Tally, seconds: float, workers: int, resumed_samples: int) -> Findings:
    bad: list[Fault] = []
    of_shards: dict[str, Fault] = {}
    for number, (kind, cause) in sorted(tally.bad.items()):
        fault = Fault(listing.place(number), kind, cause)
        if listing.piece(number).is_shard:
            of_shards[fault.place.path] = fault
        else:
            bad.append(fault)
    # A sample that was altered says why its shard's digest is another, and where.
    for path in {fault.place.path for fault in bad if fault.fault == CHECKSUM}:
        of_shards.pop(path, None)
    shards = [
        replace(shard, faults=(*shard.faults, of_shards[shard.path])) if shard.path in of_shards else shard
        for shard in listing.shards
    ]
    remarks = [
        Remark(kind, times, listing.place(first)) for kind, (times, first) in sorted(tally.remarks.items())
    ]
    return Findings(
        location=listing.location,
        samples=tally.samples,
        bytes=tally.bytes,
        seconds=seconds,
        workers=workers,
        resumed_samples=resumed_samples,
        bad=tuple(bad),
        remarks=(*listing.remarks, *remarks),
        shards=tuple(shards),
        beside=listing.faults,
    )
