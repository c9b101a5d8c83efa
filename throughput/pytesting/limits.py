"""Limits on what a test may measure, and whether they were kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from throughput.comparison import compare_runs
from throughput.differences import describe_difference
from throughput.errors import ThroughputError
from throughput.results import PhaseName, Rate, Results

Outcome = Literal["kept", "missed", "undecided", "not judged"]


@dataclass(frozen=True)
class Limits:
    """The least that a test may reach; None: anything.

    min_ratio: of its base's rate. min_images_per_second: of its own.
    """

    min_ratio: float | None = None
    min_images_per_second: float | None = None


@dataclass(frozen=True)
class Judged:
    """One limit, and what became of it. words: a sentence with the figures."""

    limit: str
    outcome: Outcome
    words: str

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"{self.limit} {self.outcome}: {self.words}"


def limits_of(item: pytest.Item, *, of_mark: bool = False) -> Limits:
    """Those of the test's own mark, else, unless ``of_mark``, of the session. A wrong mark fails the test."""
    config = item.config
    mark = item.get_closest_marker("throughput")
    chosen = {} if mark is None else dict(mark.kwargs)
    unknown = set(chosen) - {"min_ratio", "min_images_per_second"}
    if unknown or (mark is not None and mark.args):
        pytest.fail(
            "the mark throughput takes min_ratio=... and min_images_per_second=..., "
            f"got {', '.join([*map(repr, mark.args if mark else ()), *sorted(unknown)])}",
            pytrace=False,
        )
    if not of_mark:
        margin = config.getoption("throughput_fail_below")
        chosen.setdefault("min_ratio", None if margin is None else 1 - margin)
        chosen.setdefault("min_images_per_second", config.getoption("throughput_min_images_per_second"))
    for name, value in chosen.items():
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
        if value is not None and not fits:
            pytest.fail(f"the mark throughput: {name} must be a number above 0, got {value!r}", pytrace=False)
    return Limits(**chosen)


def judge_rate(rate: Rate, limit: float) -> Judged:
    """Missed where the whole interval lies below the limit, undecided where the limit lies inside it."""
    told = (
        f"{rate.median:,.0f}{_interval(rate.low, rate.high, ',.0f')} images/s, and {limit:,.0f} is the least"
    )
    return Judged("min_images_per_second", _outcome(rate.low, rate.high, limit), told)


def judge_ratio(results: Results, saved: Results | str, phase: PhaseName, limit: float | None) -> Judged:
    """Beside the same test in an earlier run; ``saved`` may be the reason why there is none.

    A limit of None, another machine or other work: it is shown, and not judged.
    """
    name = "min_ratio"
    least = "" if limit is None else f", and {limit:.3g} is the least"
    if isinstance(saved, str):
        return Judged(name, "not judged", f"{saved}{least}")
    # As a file would hold it: the saved run has been through one.
    compared = compare_runs(*(json.loads(json.dumps(one.to_json())) for one in (saved, results)))
    change = next((one for one in compared.rates if one.phase == phase), None)
    if change is None or change.ratio is None:
        return Judged(name, "not judged", "; ".join(compared.left_out) or "the saved run has no such rate")
    interval = _interval(change.low, change.high, ".3f")
    told = f"{change.ratio:.3f}{interval} of the saved {change.a:,.0f} images/s{least}"
    if differences := [*compared.machine, *compared.work]:
        others = "; ".join(map(describe_difference, differences))
        told += f"; the saved run (A) is of another machine or other work: {others}"
        limit = None
    if limit is None:
        return Judged(name, "not judged", told)
    return Judged(name, _outcome(change.low, change.high, limit), told)


def saved_run(path: Path | None, test: str) -> Results | str:
    """What an earlier session wrote of this test, or why there is nothing."""
    if path is None:
        return "nothing was named to compare with: `throughput gate`, or --throughput-compare"
    from throughput.results_reading import load_runs

    try:
        runs = load_runs(path)
    except ThroughputError as error:
        raise pytest.UsageError(f"--throughput-compare: {error}") from error
    found = next((run for run in runs if run.work.get("test") == test), None)
    return f"{path} does not hold this test" if found is None else found


def _outcome(low: float | None, high: float | None, limit: float) -> Outcome:
    if low is None or high is None:
        return "undecided"  # a single pass shows no spread: nobody knows how far it can be trusted
    if high < limit:
        return "missed"
    return "kept" if low >= limit else "undecided"


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f" [{low:{form}}, {high:{form}}]"
