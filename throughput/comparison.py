"""Loaders against each other: those of one run round by round, and those of two runs file by file.

Nothing here reads, measures or prints.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from throughput.differences import (
    Difference,
    describe_difference,
    differing,
    machine_differences,
    software_differences,
    work_differences,
)
from throughput.errors import OptionError
from throughput.measure.plan import PHASES
from throughput.measure.statistics import paired_ratio, unpaired_ratio
from throughput.results import Comparison, PhaseName

Allowance = Literal["machine", "work"]
ALLOWANCES: tuple[Allowance, ...] = ("machine", "work")


def compare_rounds(
    rates: Mapping[str, Mapping[PhaseName, Sequence[float]]], baseline: str | None = None
) -> tuple[Comparison, ...]:
    """Each loader of a run against the baseline, phase by phase, over the rounds that both took part in.

    rates: images per second by loader and phase, one for each round from the first on; a loader that
    dropped out has fewer. baseline: the fastest in the last phase that all have, by the median, where it
    is None. Nothing is said of a phase in which one of two loaders has no rate, or a rate of 0.
    """
    measured = {loader: phases for loader, phases in rates.items() if any(phases.values())}
    if baseline is None:
        baseline = _fastest(measured)
    if baseline is None or baseline not in measured:
        return ()
    compared = (
        _compare_paired(loader, baseline, phase, measured)
        for phase in PHASES
        for loader in measured
        if loader != baseline
    )
    return tuple(one for one in compared if one is not None)


def _fastest(measured: Mapping[str, Mapping[PhaseName, Sequence[float]]]) -> str | None:
    common = [phase for phase in PHASES if all(phases.get(phase) for phases in measured.values())]
    if not measured or not common:
        return None
    return max(measured, key=lambda loader: statistics.median(measured[loader][common[-1]]))


def _compare_paired(
    loader: str,
    baseline: str,
    phase: PhaseName,
    rates: Mapping[str, Mapping[PhaseName, Sequence[float]]],
) -> Comparison | None:
    pairs = list(zip(rates[loader].get(phase, ()), rates[baseline].get(phase, ()), strict=False))
    if not pairs or min(map(min, pairs)) <= 0:
        return None
    if len(pairs) == 1:
        return Comparison(loader, baseline, phase, pairs[0][0] / pairs[0][1], None, None, 1)
    ratio = paired_ratio([ours for ours, _ in pairs], [theirs for _, theirs in pairs])
    return Comparison(loader, baseline, phase, ratio.value, ratio.low, ratio.high, len(pairs))


@dataclass(frozen=True)
class RateChange:
    """One phase of one loader in run A and in run B.

    a, b: images per second, the median of the passes. ratio: b / a, of the geometric means, with its 95 %
    interval; None where a pass has no image. low, high: None where one side has a single pass.
    """

    loader: str
    phase: PhaseName
    a: float
    b: float
    ratio: float | None
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """What B is, seen from A."""
        if self.ratio is None:
            return "no ratio: a pass in which no image counted"
        if self.low is None or self.high is None:
            return "no interval: one pass shows no spread"
        if self.low > 1:
            return "faster"
        return "slower" if self.high < 1 else "not told apart"


@dataclass(frozen=True)
class RunComparison:
    """Run B against run A.

    doubts: warnings that the runs themselves gave about the rows that are compared, in words.
    machine, work: what makes the rates incomparable. others: what may be the very reason to compare:
    versions, and a loader's options. left_out: why a loader or a phase is not compared, in words.
    """

    machine: tuple[Difference, ...]
    work: tuple[Difference, ...]
    others: tuple[Difference, ...]
    rates: tuple[RateChange, ...]
    left_out: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def compare_runs(a: Mapping[str, Any], b: Mapping[str, Any]) -> RunComparison:
    """Compare what ``throughput bench --json`` wrote of two runs (``results_file.read_results``)."""
    rows_a, rows_b = _by_name(a["rows"], b["rows"]), _by_name(b["rows"], a["rows"])
    both = [loader for loader in rows_a if loader in rows_b]
    changes: list[RateChange] = []
    left_out = [f"{loader}: only in A" for loader in rows_a if loader not in rows_b]
    left_out += [f"{loader}: only in B" for loader in rows_b if loader not in rows_a]
    others = list(software_differences(a["environment"], b["environment"]))
    doubts: list[str] = []
    for loader in both:
        row_a, row_b = rows_a[loader], rows_b[loader]
        reasons = [
            f"{loader}: {reason} in {name}"
            for name, row in (("A", row_a), ("B", row_b))
            if (reason := _why_not(row)) is not None
        ]
        left_out += reasons
        if reasons:
            continue
        doubts += [
            f"{loader} in {name}: {warning}"
            for name, row in (("A", row_a), ("B", row_b))
            for warning in row.get("warnings") or ()
        ]
        others += differing(row_a, row_b, ("options", "decode"), prefix=f"{loader}: ")
        ran_a, ran_b = (row.get("runtime") or {} for row in (row_a, row_b))
        others += differing(ran_a, ran_b, ("provider", "threads", "fallback_nodes"), prefix=f"{loader}: ")
        certified = [(row.get("certificate") or {}).get("comparable") for row in (row_a, row_b)]
        if certified[0] != certified[1]:
            others.append(Difference(f"{loader}: certified to do the same work", *certified))
        for phase in PHASES:
            if row_a.get(phase) and row_b.get(phase):
                changes.append(_change(loader, phase, _rates(row_a[phase]), _rates(row_b[phase])))
            elif row_a.get(phase) or row_b.get(phase):
                left_out.append(f"{loader}: {phase} measured only in {'A' if row_a.get(phase) else 'B'}")
    return RunComparison(
        machine=tuple(machine_differences(a["environment"], b["environment"])),
        work=tuple(work_differences(a["work"], b["work"])),
        others=tuple(others),
        rates=tuple(changes),
        left_out=tuple(left_out),
        doubts=tuple(doubts),
    )


def require_alike(comparison: RunComparison, allow: Collection[str] = ()) -> None:
    """Raise OptionError where the runs differ in machine or work, unless that is among ``allow``."""
    found = [
        f"the {kind} differs: {'; '.join(map(describe_difference, differences))} (--allow {kind})"
        for kind, differences in (("machine", comparison.machine), ("work", comparison.work))
        if differences and kind not in allow
    ]
    if found:
        raise OptionError(
            f"{'; '.join(found)}. Rates measured under such differences say little about the loaders: "
            "measure again alike, or have them compared all the same as said in brackets"
        )


def _by_name(
    rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Rows by ``_key``; one that failed before anything ran, by that of its loader in the other run."""
    named = {}
    for row in rows:
        theirs = {_key(other) for other in others if other["loader"] == row["loader"]}
        named[theirs.pop() if not row.get("runtime") and len(theirs) == 1 else _key(row)] = row
    return named


def _key(row: Mapping[str, Any]) -> str:
    """The loader; where it fed a model that answered, with what ran that."""
    runtime = row.get("runtime")
    if not runtime:
        return str(row["loader"])
    return f"{row['loader']}, {runtime['engine']} {runtime['precision']}"


def _why_not(row: Mapping[str, Any]) -> str | None:
    """Why a row's rates mean nothing."""
    if row["status"] != "ok":
        return f"{row['status']} ({row['reason']})" if row.get("reason") else str(row["status"])
    certificate = row.get("certificate")
    if certificate and certificate.get("comparable") is False:
        failed = ", ".join(check["name"] for check in certificate["checks"] if not check["ok"])
        return f"not comparable ({failed or 'its certificate says so'})"
    ledger = row.get("ledger")
    if isinstance(ledger, Mapping) and ledger.get("exact") is False:
        return "miscounted: samples were missing, came twice or did not belong"
    return None


def _rates(phase: Mapping[str, Any]) -> list[float]:
    return [one["images"] / one["seconds"] for one in phase["passes"]]


def _change(loader: str, phase: PhaseName, a: Sequence[float], b: Sequence[float]) -> RateChange:
    medians = statistics.median(a), statistics.median(b)
    if min(*a, *b) <= 0:
        return RateChange(loader, phase, *medians, None, None, None)
    if min(len(a), len(b)) < 2:
        ratio = math.exp(statistics.fmean(map(math.log, b)) - statistics.fmean(map(math.log, a)))
        return RateChange(loader, phase, *medians, ratio, None, None)
    interval = unpaired_ratio(b, a)
    return RateChange(loader, phase, *medians, interval.value, interval.low, interval.high)
