"""One block in all ranks at once: each measures its share, and all get the same row of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from throughput.contracts import Progress
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Block
from throughput.measure.rounds import Measure
from throughput.measure.run import Observed, observe
from throughput.measure.run import measure as measure_alone
from throughput.ranks.company import Company, Seat
from throughput.ranks.errors import BrokenTieError
from throughput.ranks.meeting import Meeting
from throughput.ranks.merging import merge_rows
from throughput.ranks.sameness import require_possible, require_same_work
from throughput.results import Results, Row


def begin(company: Company, blank: Results, *, cache: str, check_prediction: bool) -> tuple[Results, Measure]:
    """``blank``, the results before anything was measured, with what is of all ranks of the machine, and what
    measures a block in them.

    Raises OptionError, in every rank, for what these cannot do together, and where they would do other work.
    """
    if company.size == 1:
        return blank, measure_alone
    require_possible(check_prediction=check_prediction, cache=cache)
    require_same_work(company, blank.work)
    host = company.seats[company.rank].host
    cores = sum(seat.share for seat in company.seats if seat.host == host)
    blank = replace(blank, environment=blank.environment | {"cores_usable": cores})
    return blank, measuring_in(company)


def measuring_in(company: Company) -> Measure:
    """What measures a block in all ranks of a company, which measure the same blocks in the same order."""
    assert isinstance(company, Meeting), "measuring processes are started by the ranks' own"
    signs = company.signs
    blocks = 0

    def measure(nursery: Nursery, block: Block, progress: Progress) -> Row:
        nonlocal blocks
        blocks += 1
        name = f"block {blocks}"
        try:
            own = observe(
                nursery,
                replace(block, group=name),
                progress,
                lambda pid: signs.watch(name, lambda: _end(pid)),
            )
        finally:
            signs.unwatch()
        if own.row.status != "ok":
            signs.fail(name)
        return together(company.everyone(own), company.seats)

    return measure


def together(seen: Sequence[Observed], seats: Sequence[Seat]) -> Row:
    """The row of all ranks; where one was not measured, the one that tells best why."""
    rows = [one.row for one in seen]
    bad = [rank for rank, row in enumerate(rows) if row.status != "ok"]
    if bad:
        rank = min(bad, key=lambda rank: _hearsay(rows[rank]))
        row = rows[rank]
        # Where all say the same, it does not matter which rank is asked.
        alike = all(other.reason == row.reason for other in rows)
        return row if alike else replace(row, reason=f"rank {rank} on {seats[rank].host}: {row.reason}")
    row = merge_rows(rows, [seat.host for seat in seats])
    return replace(row, warnings=(*row.warnings, *_disturbances(seen, seats)))


def _hearsay(row: Row) -> int:
    """How little a failed rank knows of the cause: that it was ended, or that a connection broke."""
    reason = row.reason or ""
    return 2 if "was ended by SIG" in reason else 1 if _BROKEN in reason else 0


_BROKEN = str(BrokenTieError("the connection to another rank broke"))


def _disturbances(seen: Sequence[Observed], seats: Sequence[Seat]) -> list[str]:
    """What disturbed each machine: ranks that may use the same cores do not disturb each other."""
    found: dict[str, None] = {}
    several = len({seat.host for seat in seats}) > 1
    for place in dict.fromkeys((seat.host, seat.cores) for seat in seats):
        ranks = [rank for rank, seat in enumerate(seats) if (seat.host, seat.cores) == place]
        cpu_seconds = sum(seen[rank].own_cpu_seconds for rank in ranks)
        cores = sum(seats[rank].share for rank in ranks)
        for words in seen[ranks[0]].disturbances(cpu_seconds, cores):
            found[f"{place[0]}: {words}" if several else words] = None
    return list(found)


def _end(pid: int) -> None:
    if pid > 0:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
