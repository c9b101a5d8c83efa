"""From the rows that were measured to how they compare and what limits each."""

from __future__ import annotations

from dataclasses import replace

from throughput.comparison import compare_rounds
from throughput.measure.environment import usable_cores
from throughput.measure.suggestions import Possible
from throughput.measure.verdict import draw_verdict
from throughput.registry import load_loader
from throughput.results import PhaseName, Results, Row

IMAGENET_IMAGES = 1_281_167
"""Training images of ILSVRC-2012."""


def judge(
    results: Results, possible: Possible, project_images: int = IMAGENET_IMAGES, cores: int | None = None
) -> Results:
    """The results with a verdict on each row and the loaders compared, as far as there are rows.

    project_images: how large an epoch to tell the time of, beside the data's own. cores: usable ones, where
    they are not those of this process.
    """
    ranked = [row for row in results.rows if is_ranked(row)]

    def judged(row: Row) -> Row:
        if row.cache is not None and row.cache.mode == "cold":
            return row  # its passes begin with the opening of the loader: they are no steady rates
        work = results.work
        if not load_loader(row.loader).takes_work:
            # Nobody knows how to give it another number of workers, nor how many images it reads.
            unknown = ("workers", "train_images")
            work = {name: value for name, value in work.items() if name not in unknown}
        verdict = draw_verdict(
            row,
            work,
            usable_cores() if cores is None else cores,
            [other for other in ranked if other is not row],
            project_images,
            possible,
        )
        if verdict is not None and not is_ranked(row):
            # What limits other work is of interest; what would make it faster is not.
            verdict = replace(verdict, suggestions=(), epochs=())
        if verdict is not None and row.ranks:
            # What is predicted of another setting is predicted of one process.
            verdict = replace(verdict, suggestions=())
        return replace(row, verdict=verdict)

    rows = tuple(judged(row) if row.status == "ok" else row for row in results.rows)
    rates = {row.loader: _rates(row) for row in ranked}
    return replace(results, rows=rows, comparisons=compare_rounds(rates) if len(rates) > 1 else ())


def is_ranked(row: Row) -> bool:
    """Whether a row may stand beside others: measured, counted right, not known to do other work."""
    return row.is_sound and not load_loader(row.loader).ceiling


def is_proved(row: Row) -> bool:
    """Whether a row is all that it claims: measured, counted right and certified, or a ceiling."""
    ledgers = [ledger for ledger in (row.ledger, row.held_out_ledger) if ledger is not None]
    if row.status != "ok" or not all(ledger.exact for ledger in ledgers):
        return False
    certified = row.certificate is not None and row.certificate.comparable is True
    return certified or load_loader(row.loader).ceiling


def _rates(row: Row) -> dict[PhaseName, list[float]]:
    phases: dict[PhaseName, list[float]] = {}
    if row.load is not None:
        phases["load"] = row.load.rates
    if row.train is not None:
        phases["train"] = row.train.rates
    return phases
