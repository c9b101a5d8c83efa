"""What the tests of a session measured: for pytest-benchmark, JUnit, the summary, and a file of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from throughput.pytesting.limits import Judged
from throughput.results import Phase, PhaseName, Results, Row

TEST = "test"
"""The key of a run's ``work`` that tells which test it is of."""
_LONG = ("batch_wait_seconds", "batch_step_seconds", "batch_begin_seconds")


@dataclass(frozen=True)
class Record:
    """One test. results: a run with one row. timed: False where it only ran. judged: its limits."""

    test: str
    results: Results
    phase: PhaseName
    timed: bool
    judged: tuple[Judged, ...] = ()

    @property
    def row(self) -> Row:
        """What was measured."""
        return self.results.rows[0]

    @property
    def measured(self) -> Phase:
        """The passes by which the test is judged."""
        phase: Phase | None = getattr(self.row, self.phase)
        assert phase is not None
        return phase

    def seconds_per_image(self) -> list[float]:
        """One for each pass that delivered an image."""
        return [one.seconds / one.images for one in self.measured.passes if one.images]

    def extra_info(self) -> dict[str, Any]:
        """Plain values for ``benchmark.extra_info``: without what each single batch took."""
        told = self.results.to_json()
        (row,) = told["rows"]
        for name in ("load", "model", "train"):
            if row[name] is not None:
                passes = [
                    {key: value for key, value in one.items() if key not in _LONG}
                    for one in row[name]["passes"]
                ]
                row[name] = row[name] | {"passes": passes}
        left_out = ("timeline", "evaluation", "training", "bad_input")
        return {
            "phase": self.phase,
            "timed": self.timed,
            "images_per_second": row[self.phase]["images_per_second"],
            "wait_fraction": row[self.phase]["wait_fraction"],
            "wait_ms": row[self.phase]["wait_ms"],
            **{key: value for key, value in row.items() if key not in left_out},
            "work": told["work"],
            "environment": told["environment"],
        }

    def properties(self) -> list[tuple[str, str]]:
        """Name and value, for JUnit's ``<properties>``."""
        row, rate = self.row, self.measured.images_per_second
        ledger, certificate = row.ledger, row.certificate
        found: dict[str, object] = {
            "loader": row.loader,
            "phase": self.phase,
            "timed": self.timed,
            "images_per_second": rate.median,
            "images_per_second_low": rate.low,
            "images_per_second_high": rate.high,
            "wait_fraction": self.measured.wait_fraction,
            "ledger_exact": None if ledger is None else ledger.exact,
            "comparable": None if certificate is None else certificate.comparable,
            "bottleneck": None if row.verdict is None else row.verdict.bottleneck,
            "accuracy": row.accuracy,
        }
        found |= {f"limit_{one.limit}": one.words for one in self.judged}
        return [(f"throughput.{name}", str(value)) for name, value in found.items() if value is not None]


def write_records(path: Path, records: list[Record]) -> None:
    """The results of all tests that were timed, one run each, as ``throughput report`` reads them."""
    from throughput.cache import whole_file
    from throughput.registry import load_report

    # Of a test that ran again, the last.
    runs = [one.results for one in {record.test: record for record in records if record.timed}.values()]
    if not runs:
        return  # as where tests are only collected: what an earlier session wrote stays
    with whole_file(path) as file:
        file.write(load_report("json").render(runs).encode())
