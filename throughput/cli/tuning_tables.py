"""How a search is told: what was tried, what was chosen and why, and the command to use."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from throughput.cli.tables import print_table
from throughput.tuning.configuration import Configuration
from throughput.tuning.grid import Grid, Regret
from throughput.tuning.trial import Trial
from throughput.tuning.tuned import Tuning

_FEWEST_PASSES = 3
_PHASES = {"load": "alone", "train": "in training"}


def print_tuning(tuning: Tuning) -> None:
    """The curve, then the choice in words; the last line is the command to use."""
    work = tuning.work
    click.echo(
        f"{work['train_images']:,} images of {work['source']}, {work['image_size']} px, on {work['device']}, "
        f"{tuning.environment['cores_usable']} cores"
    )
    _print_trials(f"{tuning.loader}: images/s {_PHASES[tuning.phase]}", tuning, tuning.trials)
    if tuning.grid is not None:
        _print_trials(f"{tuning.loader}: the whole grid", tuning, tuning.grid.trials)
    for line in (*_chosen(tuning), *_spent(tuning), *_certified(tuning)):
        click.echo(line)
    if tuning.grid is not None:
        for line in _judged(tuning.grid, tuning.spent_seconds):
            click.echo(line)
    if tuning.command_to_use is not None:
        click.echo(tuning.command_to_use)
    sys.stdout.flush()


def _print_trials(title: str, tuning: Tuning, trials: Sequence[Trial]) -> None:
    print_table(
        title,
        (*tuning.searched, "images/s", "passes", "seconds", "CPU", "memory GB", ""),
        [
            (
                *(_setting(trial.configuration, name) for name in tuning.searched),
                _rate(trial),
                str(len(trial.passes)),
                f"{sum(one.seconds for one in trial.passes):.1f}",
                "-" if trial.cpu_utilisation is None else f"{trial.cpu_utilisation:.0%}",
                "-" if trial.peak_rss_bytes is None else f"{trial.peak_rss_bytes / 1e9:.1f}",
                "CHOSEN" if trial.configuration == tuning.chosen else trial.dropped or "",
            )
            for trial in trials
        ],
    )


def _setting(configuration: Configuration, name: str) -> str:
    return str(configuration.settings.get(name, "-"))


def _rate(trial: Trial) -> str:
    """The median, and half the width of its interval; that of two passes is too wide to say anything."""
    rate = trial.images_per_second
    if rate is None:
        return "-"
    if rate.low is None or rate.high is None or len(trial.passes) < _FEWEST_PASSES:
        return f"{rate.median:,.0f}"
    return f"{rate.median:,.0f} ±{(rate.high - rate.low) / 2:,.0f}"


def _chosen(tuning: Tuning) -> Iterator[str]:
    if tuning.choice is None:
        yield "nothing is chosen: nothing was measured"
        return
    so_far = "" if tuning.finished else " so far (the search was not finished)"
    yield f"chosen{so_far}: {tuning.choice.configuration.words}: {tuning.choice.words}"


def _spent(tuning: Tuning) -> Iterator[str]:
    tried = sum(bool(trial.passes) for trial in tuning.trials)
    whole = len(tuning.trials) + tuning.untried
    apart = f"{tuning.preparation_seconds:.1f} s to prepare"
    if tuning.certificate_seconds:
        apart += f" and {tuning.certificate_seconds:.1f} s for the certificate"
    yield (
        f"{tried} of {whole} combinations measured in {tuning.spent_seconds:.1f} s of "
        f"{tuning.budget_seconds:g} s; besides, {apart}"
    )


def _certified(tuning: Tuning) -> Iterator[str]:
    certificate = tuning.certificate
    if certificate is None:
        return
    if certificate.comparable is None:
        yield f"{tuning.loader}: not certified: {certificate.reason}"
    elif certificate.comparable:
        made = "by an earlier run" if certificate.cached else "now"
        yield f"{tuning.loader}: certified to do the same work: {len(certificate.checks)} checks, {made}"
    else:
        for check in certificate.failed:
            yield f"{tuning.loader}: NOT COMPARABLE: {check.name}: {check.words}"
        if certificate.reason is not None:
            yield f"{tuning.loader}: NOT COMPARABLE: {certificate.reason}"


def _judged(grid: Grid, spent_seconds: float) -> Iterator[str]:
    yield f"best of the grid: {grid.best.words}"
    if grid.regret is None:
        yield "no regret is told: the chosen one failed in the grid"
    else:
        yield f"regret: the chosen one is {_regret(grid.regret)} slower than the best"
    yield (
        f"the grid took {grid.seconds:.0f} s, the search {spent_seconds:.0f} s: "
        f"{spent_seconds / grid.seconds:.2f} of it"
    )


def _regret(regret: Regret) -> str:
    interval = "" if regret.low is None else f" [{regret.low:.1f}, {regret.high:.1f}]"
    return f"{regret.percent:.1f} %{interval}"
