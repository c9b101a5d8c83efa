"""Predictions are checked: what the first suggestion promised, beside what it gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from throughput.choices import choose_workers
from throughput.contracts import Progress, no_progress
from throughput.errors import OptionError
from throughput.measure.judge import is_ranked
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Plan
from throughput.measure.rounds import measure_rounds
from throughput.options import parse_assignments
from throughput.results import Certificate, Results, Row


def check_first_suggestion(
    results: Results,
    plans: Sequence[Plan],
    nursery: Nursery,
    certificate_of: Callable[[Plan], Certificate],
    progress: Progress = no_progress,
) -> Results:
    """Apply the first suggestion for the fastest row, measure it, and return the results with what it gave.

    It is the first that options of the command can apply; where there is none, a warning on the row says so.
    certificate_of: asked for a plan of another loader or of other options of its own, which is measured only
    if it does the same work.
    """
    best = max(
        (row for row in results.rows if is_ranked(row) and row.train is not None),
        key=lambda row: row.train.images_per_second.median if row.train else 0.0,
        default=None,
    )
    if best is None:
        return results
    if best.verdict is None:
        return _unchecked(results, best, "it has no verdict")
    if not best.verdict.suggestions or best.verdict.suggestions[0].options is None:
        return _unchecked(results, best, "nothing that options could apply is suggested")
    first, *others = best.verdict.suggestions
    assert first.options is not None
    by_loader = {plan.loader: plan for plan in plans}
    # A loader that was measured here keeps the options that the user chose for it.
    measured_here = by_loader.get(first.options.get("loader", ""))
    plan = measured_here or apply_options(by_loader[best.loader], first.options)
    if (reason := _other_work(plan, plans, certificate_of)) is not None:
        warning = f"the first suggestion was not tried, for {plan.loader} does other work with it: {reason}"
        return _with_row(results, replace(best, warnings=(*best.warnings, warning)))
    (row,) = measure_rounds([replace(plan, phases=("train",))], nursery, progress)
    if row.train is None:
        warning = f"the first suggestion could not be checked: {row.reason}"
        return _with_row(results, replace(best, warnings=(*best.warnings, warning)))
    checked = replace(first, measured=row.train.images_per_second)
    return _with_row(results, replace(best, verdict=replace(best.verdict, suggestions=(checked, *others))))


def _unchecked(results: Results, row: Row, why: str) -> Results:
    return _with_row(results, replace(row, warnings=(*row.warnings, f"no prediction was checked: {why}")))


def _other_work(
    plan: Plan, plans: Sequence[Plan], certificate_of: Callable[[Plan], Certificate]
) -> str | None:
    """Why a plan that brings in a loader, or options of it, does other work than ``plans``; else None."""
    if any((plan.loader, plan.options) == (one.loader, one.options) for one in plans):
        return None
    certificate = certificate_of(plan)
    if certificate.comparable is not False:
        return None
    return "; ".join(check.words for check in certificate.failed) or certificate.reason


def apply_options(plan: Plan, options: dict[str, str]) -> Plan:
    """The plan with options of ``throughput bench`` changed. Raises OptionError."""
    import torch

    from throughput.training.precision import choose_dtype

    device = torch.device(plan.work.device)
    for name, value in options.items():
        match name:
            case "workers":
                plan = replace(plan, work=replace(plan.work, workers=choose_workers(value)))
            case "batch":
                plan = replace(plan, work=replace(plan.work, batch_size=int(value)))
            case "precision":
                plan = replace(
                    plan,
                    work=replace(plan.work, compute_dtype=choose_dtype(value, device)),
                )
            case "compile":
                plan = replace(plan, compile=True)
            case "loader":
                plan = replace(plan, loader=value, options={})
            case "opt":
                chosen = parse_assignments((value,), (plan.loader,))
                plan = replace(plan, options=plan.options | dict(chosen[plan.loader]))
            case _:
                raise OptionError(f"--{name} cannot be changed for a measurement")
    return plan


def _with_row(results: Results, row: Row) -> Results:
    """The results with the row of that loader exchanged."""
    return replace(results, rows=tuple(row if one.loader == row.loader else one for one in results.rows))
