"""What ``throughput tune`` found, and its JSON form.

Version history of the schema:

1. First version. Keys may join; those that are there keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from throughput.results import Certificate, Preparation
from throughput.tuning.choice import Choice
from throughput.tuning.configuration import Configuration
from throughput.tuning.grid import Grid
from throughput.tuning.trial import Trial

SCHEMA = 1


@dataclass(frozen=True)
class Tuning:
    """A search for the best configuration of one loader, finished or not.

    work: as in the results of a bench, without what was searched or has no meaning here. phase: what the
    rates are of: ``load``, the loader alone, or ``train``, loader and model together. searched: names of the
    settings of which there was a choice.
    spent_seconds: of the budget. Not in it: preparation_seconds, of a first block that is not counted, in
    which data is converted, kernels are compiled and files are first read; certificate_seconds; the grid.
    preparation: what was converted for the loader. certificate: of the chosen configuration; None before it
    is made. choice: None before anything was measured; before ``finished``, the fastest so far.
    trials: each configuration that was tried, in that order, and those that do not fit into memory. untried:
    how many others there are. warnings: what casts doubt on the search, in words.
    """

    created: str
    command: str
    environment: Mapping[str, Any]
    work: Mapping[str, Any]
    loader: str
    phase: str
    searched: tuple[str, ...]
    budget_seconds: float
    spent_seconds: float = 0.0
    preparation_seconds: float = 0.0
    preparation: Preparation | None = None
    finished: bool = False
    choice: Choice | None = None
    command_to_use: str | None = None
    certificate: Certificate | None = None
    certificate_seconds: float = 0.0
    trials: tuple[Trial, ...] = ()
    untried: int = 0
    grid: Grid | None = None
    warnings: tuple[str, ...] = ()

    @property
    def chosen(self) -> Configuration | None:
        """The configuration to use."""
        return None if self.choice is None else self.choice.configuration

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` writes.

        ``chosen`` has ``workers``, ``batch_size``, the searched ``options`` of the loader by name, ``why``,
        and ``finals``: the finalists with their ``rates``, round by round. Each of ``configurations`` has the
        first three, ``held_bytes`` (what its batches take, by estimate), ``images_per_second`` {``median``,
        ``low``, ``high``}, ``passes`` [{``images``, ``seconds``, ``wait_seconds``}], whose lengths grow from
        rung to rung, ``cpu_utilisation``, ``peak_rss_bytes``, and ``dropped``: why it went no further, or
        null. ``grid``, null unless it was measured, has ``configurations``, ``best``, ``regret``
        {``percent``, ``low``, ``high``, ``chosen_rates``, ``best_rates``}, ``seconds`` and ``search_share``:
        spent_seconds / seconds.
        """
        return {
            "schema": SCHEMA,
            "created": self.created,
            "command": self.command,
            "environment": dict(self.environment),
            "work": dict(self.work),
            "loader": self.loader,
            "phase": self.phase,
            "searched": list(self.searched),
            "budget_seconds": self.budget_seconds,
            "spent_seconds": self.spent_seconds,
            "preparation_seconds": self.preparation_seconds,
            "preparation": None if self.preparation is None else asdict(self.preparation),
            "finished": self.finished,
            "chosen": None if self.choice is None else _choice(self.choice),
            "command_to_use": self.command_to_use,
            "certificate": None if self.certificate is None else asdict(self.certificate),
            "certificate_seconds": self.certificate_seconds,
            "configurations": [_trial(trial) for trial in self.trials],
            "untried": self.untried,
            "grid": None if self.grid is None else _grid(self.grid, self.spent_seconds),
            "warnings": list(self.warnings),
        }


def _settings(one: Configuration) -> dict[str, Any]:
    return {"workers": one.workers, "batch_size": one.batch_size, "options": dict(one.options)}


def _choice(choice: Choice) -> dict[str, Any]:
    finals = [_settings(one) | {"rates": list(rates)} for one, rates in choice.rates.items()]
    return _settings(choice.configuration) | {"why": choice.words, "finals": finals}


def _trial(trial: Trial) -> dict[str, Any]:
    rate = trial.images_per_second
    return _settings(trial.configuration) | {
        "held_bytes": trial.configuration.held_bytes,
        "images_per_second": None if rate is None else asdict(rate),
        "passes": [
            {"images": one.images, "seconds": one.seconds, "wait_seconds": one.wait_seconds}
            for one in trial.passes
        ],
        "cpu_utilisation": trial.cpu_utilisation,
        "peak_rss_bytes": trial.peak_rss_bytes,
        "dropped": trial.dropped,
    }


def _grid(grid: Grid, spent_seconds: float) -> dict[str, Any]:
    return {
        "configurations": [_trial(trial) for trial in grid.trials],
        "best": _settings(grid.best),
        "regret": None if grid.regret is None else asdict(grid.regret),
        "seconds": grid.seconds,
        "search_share": spent_seconds / grid.seconds,
    }
