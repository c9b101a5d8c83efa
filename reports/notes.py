"""What a reader must know to trust, or not to trust, a row, and what to do next: lines below the table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from throughput.ranks.merging import slowest_share
from throughput.reports.training import lines
from throughput.results import (
    CacheEvidence,
    Comparison,
    LedgerCount,
    RankShare,
    RemoteReading,
    Results,
    Row,
    Suggestion,
    Verdict,
)

_WAIT_MS_THAT_MATTERS = 1.0
_WAIT_SHARE_THAT_MATTERS = 0.02
_LONG_TAIL = 5
"""A 99th percentile of so many medians is a stall that a mean would hide."""
_TELLS_NOTHING = 10
"""An interval whose ends differ by this factor says that nothing is known."""
_ENDLESS = 100
"""Beyond this, the end of a ratio's interval is not worth its digits."""


def notes(results: Results) -> list[str]:
    """The lines for all rows, each beginning with its loader, then how the loaders compare."""
    lines = [f"{row.loader}: {line}" for row in results.rows for line in row_notes(row, results)]
    return [*lines, *comparison_notes(results)]


def row_notes(row: Row, results: Results) -> Iterator[str]:
    """All that there is to say of one row, or why nothing was measured of it."""
    if row.status != "ok":
        yield f"{row.status}: {row.reason}"
        return
    yield from row_facts(row, results)
    if row.verdict is not None:
        yield f"{row.verdict.bottleneck}: {row.verdict.sentence}"
        yield from suggestion_notes(row.verdict)
        yield from epoch_notes(row.verdict)


def comparison_notes(results: Results) -> list[str]:
    """How the loaders compare in the phase that matters most of those that were compared."""
    compared = [one for one in results.comparisons if one.phase == _compared_phase(results)]
    both = str(results.work.get("activity", "training"))
    return [_compared(one, both) for one in compared]


def suggestion_notes(verdict: Verdict) -> Iterator[str]:
    """What to try, the most promising first, and what it should give."""
    for number, suggestion in enumerate(verdict.suggestions, start=1):
        yield f"try {number}: {_suggested(suggestion)}"


def epoch_notes(verdict: Verdict) -> Iterator[str]:
    """How long an epoch takes, in one line."""
    if verdict.epochs:
        yield "an epoch takes " + "; ".join(
            f"{duration(one.seconds)}{_between(one.low, one.high)} for {one.images:,} images"
            for one in verdict.epochs
        )


def tells_nothing(low: float, high: float) -> bool:
    """Whether an interval is so wide that its ends are of no use."""
    return high > _TELLS_NOTHING * low


def ratio_words(ratio: float, low: float | None, high: float | None) -> str:
    """``0.792 [0.727, 0.863]``; without an interval where there is none."""
    if low is None or high is None:
        return f"{ratio:.3f}"
    return f"{ratio:.3f} [{low:.3f}, {f'over {_ENDLESS}' if high >= _ENDLESS else f'{high:.3f}'}]"


def count(value: Any) -> str:
    """A number of things with its thousands set apart; ``-`` where a run does not tell it."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def short(path: str) -> str:
    """A path below the home folder as a shell would write it."""
    home = f"{Path.home()}/"
    return f"~/{path.removeprefix(home)}" if path.startswith(home) else path


def duration(seconds: float) -> str:
    """``48 s``, ``12 min 5 s`` or ``3 h 40 min``."""
    if not math.isfinite(seconds):
        return "endless time"
    whole = round(seconds)
    if whole < 1:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def row_facts(row: Row, results: Results) -> Iterator[str]:
    """What a row that was measured was seen to do, and what that is worth: all but its verdict."""
    yield from _certified(row)
    if row.ranks:
        yield _shared(row)
    if row.prepare is not None and row.prepare.folder is not None:
        cost = f"in {row.prepare.seconds:.1f} s" if row.prepare.seconds else "by an earlier run"
        yield (
            f"reads a copy of {row.prepare.bytes / 1e6:,.0f} MB, "
            f"packed {cost} into {short(row.prepare.folder)}"
        )
    if row.ledger is not None and row.ledger.epochs:
        yield _counted(row)
    yield from _held_out(row)
    if row.cache is not None:
        yield _cached(row.cache)
    if row.remote is not None:
        yield _fetched(row.remote)
    yield from _answered(row)
    yield from lines(row)
    if row.accuracy is not None and row.train_images is not None and row.evaluation is None:
        yield (
            f"top-1 of {count(_judged_images(row, results))} held-out images "
            f"after training on {row.train_images:,}"
        )
    if row.accuracy is None and row.evaluation is None and row.accuracy_reason is not None:
        yield f"no accuracy: {row.accuracy_reason}"
    yield from _stalls(row)
    yield from _stages(row, results.work.get("device") == "cpu")


def _certified(row: Row) -> Iterator[str]:
    certificate = row.certificate
    if certificate is None:
        return
    if certificate.comparable is None:
        yield f"not certified: {certificate.reason}"
    elif certificate.comparable:
        made = "by an earlier run" if certificate.cached else f"in {certificate.seconds:.1f} s"
        yield f"certified to do the same work: {len(certificate.checks)} checks, {made}"
        if certificate.reason is not None:
            yield f"not looked at: {certificate.reason}"
    else:
        for check in certificate.failed:
            yield f"NOT COMPARABLE: {check.name}: {check.words}"
        if certificate.reason is not None:
            yield f"NOT COMPARABLE: {certificate.reason}"


def _shared(row: Row) -> str:
    """What each of several processes did, and which is the slowest."""
    told = "; ".join(f"rank {one.rank} on {one.host} {_did(one, row)}" for one in row.ranks)
    return f"{len(row.ranks)} ranks: {told}; the slowest is rank {slowest_share(row.ranks).rank}"


def _did(one: RankShare, row: Row) -> str:
    if row.train is None:
        return f"{one.images_per_second:,.0f} images/s"
    alone = (
        "" if one.load_images_per_second is None else f"loads {one.load_images_per_second:,.0f} alone and "
    )
    return f"{alone}trains at {one.images_per_second:,.0f} images/s, {100 * one.wait_fraction:.0f} % waiting"


def _counted(row: Row) -> str:
    assert row.ledger is not None
    worst = row.ledger.worst
    if row.ledger.mislabelled:
        return f"MISCOUNTED: {row.ledger.mislabelled:,} samples came with another label than their own"
    complete = sum(epoch.complete for epoch in row.ledger.epochs)
    if row.ledger.exact and worst.corrupt and row.ledger.bad_samples:
        return _bad(row.ledger, complete)
    if row.ledger.exact and complete:
        return f"every one of {worst.expected:,} images exactly once in each of {complete} epochs"
    if row.ledger.exact:
        return f"no epoch was finished; {worst.unique:,} of {worst.expected:,} images came, none twice"
    return (
        f"MISCOUNTED: in epoch {worst.epoch}, of {worst.expected:,} images {worst.missing or 0:,} missing, "
        f"{worst.duplicate:,} duplicate, {worst.unexpected:,} unexpected"
    )


def _bad(ledger: LedgerCount, complete: int) -> str:
    """How many samples are bad, and the first of them by name."""
    worst = ledger.worst
    became = "replaced by others" if worst.padded else "left out"
    epochs = f"in each of {complete} epochs" if complete else "in no whole epoch"
    return (
        f"of {worst.expected:,} images {worst.unique:,} exactly once {epochs}; "
        f"{worst.corrupt:,} BAD, {became}: {_named(ledger)}"
    )


def _named(ledger: LedgerCount) -> str:
    """The first bad sample, and how many others there are."""
    first, *others = ledger.bad_samples
    more = f", and {len(others):,} more (--json has them all)" if others else ""
    return f"{first.sample}: {first.cause}{more}"


def _held_out(row: Row) -> Iterator[str]:
    """Held-out images that were not judged, because they are bad."""
    ledger = row.held_out_ledger
    if ledger is not None and ledger.bad_samples:
        worst = ledger.worst
        yield f"of {worst.expected:,} held-out images {worst.corrupt:,} BAD, left out: {_named(ledger)}"


def _judged_images(row: Row, results: Results) -> Any:
    """How many held-out images the accuracy is of: those that came."""
    return results.work.get("val_images") if row.held_out_ledger is None else row.held_out_ledger.worst.unique


def _cached(cache: CacheEvidence) -> str:
    resident = (
        f"{100 * cache.resident_before:.1f} % of {cache.files_bytes / 1e6:,.1f} MB in the page cache before"
    )
    if cache.mode == "warm":
        return f"warm: {resident}"
    told = (
        f"cold, the start-up of the loader included: {resident}, "
        f"{cache.bytes_read / 1e6:,.1f} MB read from the device for "
        f"{cache.bytes_delivered / 1e6:,.1f} MB of images delivered in all passes"
    )
    if cache.fetch_stall_fraction is not None:
        told += f"; of the time, {100 * cache.fetch_stall_fraction:.0f} % waited for the device"
    if cache.preparation_stall_fraction is not None:
        told += f" and {100 * cache.preparation_stall_fraction:.0f} % for decoding and transforming"
    return told


def _fetched(remote: RemoteReading) -> str:
    """What the network gave, beside what it can give."""
    rate, limit = remote.megabytes_per_second, remote.limit_megabytes_per_second
    if rate is None:
        return f"read nothing from the server: all {remote.cache_hits:,} blocks lay in the cache"
    again = f", {remote.retries:,} of them again" if remote.retries else ""
    told = (
        f"read {remote.bytes_read / 1e6:,.1f} MB from the server in {remote.requests:,} requests{again}, "
        f"at {rate:,.1f} MB/s while any was under way"
    )
    if limit is not None:
        source = "--network-limit" if remote.limit_given else "a plain parallel download"
        told += f": {100 * rate / limit:.0f} % of the {limit:,.1f} MB/s of {source}"
    hits = f"; {remote.cache_hits:,} blocks lay in the cache" if remote.cache_hits else ""
    return told + hits


def _answered(row: Row) -> Iterator[str]:
    """By what means, how fast for one batch, and whether as torch does."""
    runtime = row.runtime
    if runtime is None:
        return
    told = runtime.words
    latency = None if row.model is None else row.model.latency_ms
    if latency is not None:
        shares = ", ".join(f"{value:,.1f} ms ({share})" for share, value in latency.items())
        told += f"; a batch takes {shares}"
    if runtime.host_images_per_second is not None:
        told += f"; {runtime.host_images_per_second:,.0f} images/s with transfers from and to the host"
    yield told
    if row.parity is not None:
        yield f"beside {row.parity.reference} in float32: {row.parity.words}"


def _stalls(row: Row) -> Iterator[str]:
    """Told where the model waits at all, and the waits are not all alike."""
    phase = row.train
    if phase is None or phase.wait_ms is None or phase.wait_fraction < _WAIT_SHARE_THAT_MATTERS:
        return
    p50, p99 = phase.wait_ms["p50"], phase.wait_ms["p99"]
    if p99 < _WAIT_MS_THAT_MATTERS:
        return
    told = f"waits for a batch {p50:,.1f} ms in the median, {p99:,.1f} ms at the 99th percentile"
    if phase.epoch_gap_seconds is not None and 1e3 * phase.epoch_gap_seconds > _LONG_TAIL * p50:
        told += f", {1e3 * phase.epoch_gap_seconds:,.1f} ms at the start of an epoch"
    if phase.first_batch_seconds is not None:
        told += f"; {phase.first_batch_seconds:.1f} s to the first batch"
    yield told


def _stages(row: Row, on_cpu: bool) -> Iterator[str]:
    total = sum(row.stages.values())
    if total <= 0:
        return
    shares = ", ".join(f"{name} {100 * spent / total:.0f} %" for name, spent in row.stages.items())
    # A loader that tells no stages is timed as a whole, by the clock, and so is what runs on a GPU.
    of_one_core = on_cpu and row.decode == "cpu" and "loader" not in row.stages
    yield f"an image takes {1e3 * total:.2f} ms {'of one core' if of_one_core else 'by the clock'}: {shares}"


def _suggested(suggestion: Suggestion) -> str:
    told = (
        f"{suggestion.text}: {suggestion.images_per_second:,.0f} images/s predicted "
        f"[{suggestion.low:,.0f}, {suggestion.high:,.0f}]"
    )
    if suggestion.measured is None:
        return told
    rate = suggestion.measured
    interval = "" if rate.low is None else f" [{rate.low:,.0f}, {rate.high:,.0f}]"
    return f"{told}, {rate.median:,.0f}{interval} measured"


def _between(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    if tells_nothing(low, high):
        return " (or any other time: the passes differ too much)"
    return f" ({duration(low)} to {duration(high)})"


def _compared_phase(results: Results) -> str | None:
    """The last phase that was compared: training where there was any."""
    phases = [one.phase for one in results.comparisons]
    return "train" if "train" in phases else (phases[-1] if phases else None)


def _compared(one: Comparison, both: str) -> str:
    what = {"train": both, "load": "alone", "model": "model"}[one.phase]
    if one.low is None or one.high is None:
        return f"{one.loader} / {one.baseline}: {what} {one.ratio:.3f}, once: no interval (raise --repeats)"
    ratio = ratio_words(one.ratio, one.low, one.high)
    return f"{one.loader} / {one.baseline}: {what} {ratio} over {one.pairs} rounds: {one.words}"
