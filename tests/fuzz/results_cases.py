"""Cases for the files of results: what is read can be told again and compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from judging import Case, Outcome, refused, require
from mutators import mutated, mutated_json
from numpy.random import Generator

from throughput.comparison import compare_runs
from throughput.errors import ThroughputError
from throughput.registry import load_report
from throughput.results_file import read_results
from throughput.results_reading import load_runs

REPORTS = ("json", "csv", "markdown", "junit", "table")


def results(folder: Path) -> Case:
    """What ``--json`` writes, read, told in every format that is text, and compared with what it was."""
    sys.path.append(str(Path(__file__).parents[1]))
    from test_results_reading import RESULTS

    sound_path, path = folder / "sound.json", folder / "damaged.json"
    reports = {name: load_report(name) for name in REPORTS}
    sound = reports["json"].render([RESULTS]).encode()
    sound_path.write_bytes(sound)
    record = json.loads(sound)
    whole = read_results(sound_path)

    def case(rng: Generator) -> Outcome:
        if rng.integers(3):
            path.write_text(json.dumps(mutated_json(rng, record)))
        else:
            path.write_bytes(mutated(rng, sound, sound))
        try:
            runs = load_runs(path)
        except ThroughputError as error:
            return refused(error, path)
        for name, report in reports.items():
            require(bool(report.render(runs)), f"nothing told as {name}")
        compare_runs(read_results(path), whole)
        return "right"

    return case
