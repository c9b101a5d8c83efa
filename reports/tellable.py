"""What of results a page can tell: what holds no finite number is left out, and each row has a name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from throughput.reports.cells import answers, ranked
from throughput.reports.markup import printable
from throughput.reports.measures import phases
from throughput.results import LedgerCount, Pass, Phase, PhaseName, Results, Row, Verdict


@dataclass(frozen=True)
class Run:
    """A run as it is told: its rows, the best first, each under a name that no other row has."""

    results: Results
    rows: tuple[tuple[str, Row], ...]

    @property
    def measured(self) -> tuple[tuple[str, Row], ...]:
        """The rows of which at least one phase was measured."""
        return tuple((name, row) for name, row in self.rows if row.status == "ok" and phases(row))

    @property
    def names(self) -> list[str]:
        """Of all rows: where a colour stands for a loader, its place among them decides which."""
        return [name for name, _ in self.rows]

    @property
    def activity(self) -> str:
        """What loader and model do together."""
        return "inference" if answers(self.results) else "training"

    @property
    def phase_names(self) -> dict[PhaseName, str]:
        """What a reader calls the phases."""
        if answers(self.results):
            return {"load": "alone", "model": "session", "train": "both"}
        return {"load": "alone", "model": "model", "train": "training"}


def tellable(results: Results) -> Run:
    """The run with what can be told of each row."""
    rows = [_tellable(row) for row in results.rows]
    names = {id(row): name for name, row in zip(_names(rows), rows, strict=True)}
    return Run(replace(results, rows=tuple(rows)), tuple((names[id(row)], row) for row in ranked(rows)))


def _tellable(row: Row) -> Row:
    return replace(
        row,
        load=_lasted(row.load),
        model=_lasted(row.model),
        train=_lasted(row.train),
        stages={name: seconds for name, seconds in row.stages.items() if 0 < seconds < math.inf},
        ledger=_counted(row.ledger),
        held_out_ledger=_counted(row.held_out_ledger),
        verdict=_finite(row.verdict),
    )


def _lasted(phase: Phase | None) -> Phase | None:
    """The phase where each of its passes took some time; a file says null of what was no number."""
    if phase is None or not phase.passes:
        return None
    if not all(0 < one.seconds < math.inf and math.isfinite(one.wait_seconds) for one in phase.passes):
        return None
    return Phase(
        tuple(map(_noted, phase.passes)),
        _number(phase.first_batch_seconds),
        _number(phase.epoch_gap_seconds),
    )


def _noted(one: Pass) -> Pass:
    """With what was noted of each batch, where all of it is numbers."""

    def finite(values: tuple[float, ...]) -> tuple[float, ...]:
        return values if all(map(math.isfinite, values)) else ()

    return replace(
        one,
        batch_wait_seconds=finite(one.batch_wait_seconds),
        batch_step_seconds=finite(one.batch_step_seconds),
        batch_begin_seconds=finite(one.batch_begin_seconds),
    )


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _counted(ledger: LedgerCount | None) -> LedgerCount | None:
    return ledger if ledger is not None and ledger.epochs else None


def _finite(verdict: Verdict | None) -> Verdict | None:
    if verdict is None:
        return None
    return replace(verdict, epochs=tuple(one for one in verdict.epochs if math.isfinite(one.seconds)))


def _names(rows: Sequence[Row]) -> Iterator[str]:
    """The loader of each row; with what computed the answers, or a number, where that is not enough."""
    several = _repeated([row.loader for row in rows])
    longer = [
        f"{row.loader}, {row.runtime.engine} {row.runtime.precision}"
        if several[row.loader] and row.runtime
        else row.loader
        for row in rows
    ]
    seen: Counter[str] = Counter()
    for name in map(printable, longer):
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} ({seen[name]})"


def _repeated(names: Sequence[str]) -> Mapping[str, bool]:
    return {name: count > 1 for name, count in Counter(names).items()}
