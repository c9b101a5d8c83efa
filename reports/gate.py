"""What ``throughput gate`` decided, test by test: words and cells for any report."""

from __future__ import annotations

from collections.abc import Sequence

from throughput.judgement import Decision
from throughput.reports.cells import NOTHING
from throughput.reports.notes import count, ratio_words
from throughput.results import GateDecision, Results

HEADINGS = ("test", "loader", "base\nimages/s", "head\nimages/s", "head / base", "pairs", "decision")
_GRAVEST_FIRST: tuple[Decision, ...] = ("failed", "slower", "undecided", "not slower")


def decisions(runs: Sequence[Results]) -> tuple[GateDecision, ...]:
    """Of all runs: a gate makes one run of each test."""
    return tuple(one for results in runs for one in results.gate)


def overall(decided: Sequence[GateDecision]) -> Decision:
    """The gravest of one decision or more."""
    return min((one.decision for one in decided), key=_GRAVEST_FIRST.index)


def heading(decided: Sequence[GateDecision]) -> str:
    """What came out of it all, and by what rule, in one line."""
    return f"gate: {overall(decided)} ({rule(decided)})"


def rule(decided: Sequence[GateDecision]) -> str:
    """What the head of a change must reach, and how sure the intervals are."""
    least = " or ".join(f"{ratio:g}" for ratio in sorted({one.least_ratio for one in decided}))
    told = f"{count(len(decided))} test{'s' if len(decided) > 1 else ''}; head / base must be {least} or more"
    if any(one.confidence is not None for one in decided):
        told += "; intervals are the wider the earlier they were looked at, so that all looks err in 5 %"
    return told


def cells(one: GateDecision) -> tuple[str, ...]:
    """In the order of HEADINGS."""
    return (
        one.test,
        ", ".join(part for part in (one.loader, one.phase) if part is not None) or NOTHING,
        NOTHING if one.base is None else f"{one.base:,.0f}",
        NOTHING if one.head is None else f"{one.head:,.0f}",
        NOTHING if one.ratio is None else ratio_words(one.ratio, one.low, one.high),
        count(one.pairs),
        one.decision,
    )


def reasons(decided: Sequence[GateDecision]) -> list[str]:
    """Lines: why a test failed or stayed undecided, and why its sides took no turns."""
    found = [f"{one.test}: {one.decision}: {one.reason}" for one in decided if one.reason is not None]
    return found + [
        f"{one.test}: measured one after the other, as {one.obstacle}"
        for one in decided
        if one.obstacle is not None
    ]
