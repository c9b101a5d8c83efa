"""Lines at the end of a session: what its tests measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from throughput.pytesting.records import Record

_UNTIMED = "ran, and was not timed"


def summary_lines(records: Sequence[Record]) -> Iterator[str]:
    """One line a test, its limits and doubts below it."""
    for record in records:
        yield f"{record.test}: {record.row.loader}, {record.phase}: {_told(record)}"
        for judged in record.judged:
            yield f"  {judged.sentence}"
        if record.row.verdict is not None and record.timed:
            yield f"  {record.row.verdict.bottleneck}: {record.row.verdict.sentence}"
        for comparison in record.results.comparisons:
            if comparison.phase == record.phase and comparison.loader == record.row.loader:
                interval = "" if comparison.low is None else f" [{comparison.low:.3f}, {comparison.high:.3f}]"
                yield f"  {comparison.ratio:.3f}{interval} of {comparison.baseline}: {comparison.words}"
        told = [judged.sentence for judged in record.judged]
        for warning in record.row.warnings if record.timed else ():
            if warning not in told:  # limits are in the row's warnings as well, for reports
                yield f"  {warning}"


def _told(record: Record) -> str:
    if not record.timed:
        return _UNTIMED
    rate = record.measured.images_per_second
    interval = "" if rate.low is None else f" [{rate.low:,.0f}, {rate.high:,.0f}]"
    told = [f"{rate.median:,.0f}{interval} images/s"]
    if record.phase != "model":
        told.append(f"{100 * record.measured.wait_fraction:.0f} % waiting")
    certificate, ledger = record.row.certificate, record.row.ledger
    if certificate is not None:
        stamp = {True: "certified", False: "NOT COMPARABLE", None: "not certified"}
        told.append(stamp[certificate.comparable])
    if ledger is not None:
        told.append("counted" if ledger.exact else "MISCOUNTED")
    return ", ".join(told)
