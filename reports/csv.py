"""``csv``: a line for each run, loader and phase, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from throughput.contracts import Report
from throughput.reports.cells import one_line
from throughput.reports.measures import Figures, known, phase_figures, phases, row_figures, run_figures
from throughput.results import Results, Row

COLUMNS = (
    "created", "source", "loader", "status", "reason", "decode", "batch_size", "image_size", "workers",
    "model", "compute_dtype", "device", "phase", "passes", "images_per_second", "images_per_second_low",
    "images_per_second_high", "wait_fraction", "wait_p50_ms", "wait_p99_ms", "latency_p50_ms",
    "latency_p99_ms", "first_batch_seconds", "epoch_gap_seconds", "cpu_utilisation", "gpu_utilisation",
    "peak_rss_bytes", "gpu_memory_bytes", "share_of_ceiling", "accuracy", "comparable", "ledger_exact",
    "bottleneck", "provider", "test", "cpu_model", "git_commit",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")


class CsvReport(Report):
    """Comma-separated with a header, UTF-8; what was not measured is empty."""

    about = "a line for each loader and phase, for spreadsheets and data frames"

    def render(self, runs: Sequence[Results]) -> str:
        """Lines end in LF, and none is broken. Text that a spreadsheet would calculate begins with ``'``."""
        text = io.StringIO()
        # Figures that have no column are a mistake here, and DictWriter raises ValueError.
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for results in runs:
            for row in results.rows:
                for line in _lines(row):
                    figures = known(run_figures(results) | row_figures(row) | line)
                    writer.writerow({name: _cell(value) for name, value in figures.items()})
        return text.getvalue()


def _lines(row: Row) -> Iterator[Figures]:
    """One for each phase; one without figures where none was measured."""
    measured = phases(row)
    for name, phase in measured.items():
        yield {"phase": name, **phase_figures(row, name, phase)}
    if not measured:
        yield {}


def _cell(value: Any) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
