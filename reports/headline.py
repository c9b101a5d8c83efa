"""What came out of a run, in one sentence, and the few figures that a reader looks for first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from throughput.reports import gate
from throughput.reports.cells import (
    fastest,
    is_evaluation,
    measured_phase,
    measured_phase_name,
    percent,
    share_of_ceiling,
)
from throughput.reports.markup import printable
from throughput.reports.numbers import decimal, interval, known, per_second, plural
from throughput.reports.tellable import Run
from throughput.results import Comparison, Row
from throughput.trained import Classification


@dataclass(frozen=True)
class Fact:
    """A figure, what it is of, and what more there is to know of it."""

    figure: str
    what: str
    more: str | None = None


def best_of(run: Run) -> tuple[str, Row] | None:
    """The fastest sound row, and its name; None where nothing sound was measured."""
    best = fastest([row for _, row in run.rows])
    return next(((name, row) for name, row in run.rows if row is best), None)


def headline(run: Run) -> str:
    """The outcome."""
    if run.results.gate:
        return _gated(run)
    best = best_of(run)
    if best is not None:
        name, row = best
        return _trained(row) if row.training is not None else _fastest(name, row, run)
    if run.measured:
        return f"No loader can be trusted: {plural(len(run.measured), 'row')} measured, and none is sound"
    judged = [row for _, row in run.rows if is_evaluation(row)]
    if judged:
        return _judged(judged[0])
    return f"Nothing was measured: {_missing(run)}"


def facts(run: Run) -> Iterator[Fact]:
    """Of the best row."""
    best = best_of(run)
    phase = None if best is None else measured_phase(best[1])
    if best is None or phase is None:
        return
    _, row = best
    rate = phase.images_per_second
    spread = (
        f"95 % interval {interval(rate.low, rate.high)}, {len(phase.passes)} passes"
        if known(rate.low)
        else "one pass, no interval"
    )
    yield Fact(per_second(rate.median), f"images/s {_how(row, run)}", spread)
    share = share_of_ceiling(row)
    if share is not None and row.model is not None:
        alone = per_second(row.model.images_per_second.median)
        model = run.phase_names["model"]
        yield Fact(percent(share), "of the ceiling", f"the {model} alone takes {alone} images/s")
    if row.train is not None:
        waits = row.train.wait_ms
        tail = (
            None if waits is None else f"p50 {decimal(waits['p50'], 1)} ms, p99 {decimal(waits['p99'], 1)} ms"
        )
        yield Fact(percent(row.train.wait_fraction), "of the time without a batch", tail)
    if known(row.gpu_utilisation):
        yield Fact(percent(row.gpu_utilisation), "of the time the GPU computed")
    if known(row.cpu_utilisation):
        yield Fact(percent(row.cpu_utilisation), "of the CPU cores busy")
    if known(row.accuracy):
        yield Fact(percent(row.accuracy, 1), "top-1 of held-out images")


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _fastest(name: str, row: Row, run: Run) -> str:
    phase = measured_phase_name(row)
    rivals = [
        (other, one)
        for other, one in run.measured
        if one is not row and one.is_sound and measured_phase_name(one) == phase
    ]
    rate = _rate(row)
    how = _how(row, run)
    if not rivals:
        share = share_of_ceiling(row)
        ceiling = (
            f", {percent(share)} of what the {run.phase_names['model']} takes" if share is not None else ""
        )
        return f"{name}: {rate} images/s {how}{ceiling}"
    loaders = {row.loader, *(one.loader for _, one in rivals)}
    alone = len(loaders) > len(rivals)  # one loader may feed a model that is run in several ways
    many = f"{len(rivals) + 1} {'loaders' if alone else 'rows'}"
    against = {one.loader: one for one in run.results.comparisons if alone and _is_against(one, row)}
    words = [against[one.loader].words if one.loader in against else None for _, one in rivals]
    alike = [
        (other, one) for (other, one), word in zip(rivals, words, strict=True) if word == "not told apart"
    ]
    if len(alike) == len(rivals):
        each = listed([f"{other} {_rate(one)}" for other, one in ((name, row), *alike)])
        return f"None of {many} is told apart from the fastest: {each} images/s {how}"
    if alike:
        names = listed([name, *(other for other, _ in alike)])
        rates = listed([rate, *(_rate(one) for _, one in alike)])
        return f"{names} lead {many} and are not told apart: {rates} images/s {how}"
    if all(word == "slower" for word in words):
        return f"{name} is the fastest of {many}: {rate} images/s {how}"
    once = ", measured once" if "no interval" in words else ""
    return f"{name} came out fastest of {many}{once}: {rate} images/s {how}"


def _is_against(one: Comparison, best: Row) -> bool:
    return one.baseline == best.loader and one.phase == measured_phase_name(best)


def _rate(row: Row) -> str:
    phase = measured_phase(row)
    return per_second(None if phase is None else phase.images_per_second.median)


def _how(row: Row, run: Run) -> str:
    """Under which circumstances the row's rate was measured."""
    return {
        "train": f"in {run.activity}",
        "load": "from the loader alone",
        "model": f"of the {run.phase_names['model']} alone",
    }[measured_phase_name(row)]


def _trained(row: Row) -> str:
    assert row.training is not None
    model, epochs = printable(row.training.model), plural(len(row.training.epochs), "epoch")
    if known(row.accuracy):
        return f"{model} reached top-1 {percent(row.accuracy, 2)} after {epochs}, at {_rate(row)} images/s"
    return f"{model} was trained for {epochs} at {_rate(row)} images/s"


def _judged(row: Row) -> str:
    assert row.evaluation is not None
    subject, found = printable(row.evaluation.subject), row.evaluation.metrics
    if isinstance(found, Classification):
        return f"{subject}: top-1 {percent(found.top1, 2)} of {found.images:,} held-out images"
    return f"{subject}: mean absolute error {decimal(found.mae, 4)} of {found.images:,} held-out images"


def _gated(run: Run) -> str:
    decisions = run.results.gate
    outcome = {
        "failed": "The gate failed",
        "slower": "The gate does not pass",
        "undecided": "The gate is undecided",
        "not slower": "The gate passes",
    }[gate.overall(decisions)]
    counts = [
        f"{count} {decision}"
        for decision in ("failed", "slower", "undecided", "not slower")
        if (count := sum(one.decision == decision for one in decisions))
    ]
    return f"{outcome}: of {plural(len(decisions), 'test')}, {listed(counts)}"


def _missing(run: Run) -> str:
    if not run.rows:
        return "there is no row"
    counts = [
        f"{count} {status}"
        for status in ("failed", "skipped", "ok")
        if (count := sum(row.status == status for _, row in run.rows))
    ]
    return f"of {plural(len(run.rows), 'loader')}, {listed(counts)}"
