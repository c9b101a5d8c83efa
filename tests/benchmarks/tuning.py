"""Is what ``throughput tune`` chooses near the best there is, and is it found in a fraction of the time?

    python tests/benchmarks/tuning.py FOLDER_OF_CLASS_FOLDERS

For each loader: a search, then every combination in interleaved rounds at the length of a normal measurement.
Nothing else should run on the machine meanwhile. Exits with 1 where a choice is more than 10 % slower than
the best, or a search took more than a quarter of its grid's time.

How far behind is told twice. What the bar is held against are further rounds of the chosen and the best next
to each other: the highest of many medians owes something to chance, so that even the best, measured again,
would be behind itself. The grid's own medians stand beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from throughput.tuning.api import tune
from throughput.tuning.tuned import Tuning

MOST_REGRET_PERCENT = 10.0
MOST_SHARE = 0.25


def show(tuning: Tuning) -> bool:
    """Print a loader's line; whether it meets the bar."""
    grid = tuning.grid
    if grid is None or grid.regret is None or tuning.chosen is None:
        print(f"| {tuning.loader} | the chosen configuration failed in the grid | | | | | | MISSED |")
        return False
    regret, share = grid.regret, tuning.spent_seconds / grid.seconds
    met = regret.percent <= MOST_REGRET_PERCENT and share <= MOST_SHARE
    rates = {trial.configuration: statistics.median(trial.rates) for trial in grid.trials if trial.rates}
    chosen, best = (f"{one.words}: {rates[one]:,.0f}" for one in (tuning.chosen, grid.best))
    interval = "" if regret.low is None else f" [{regret.low:.1f}, {regret.high:.1f}]"
    times = f"{tuning.spent_seconds:.0f} s | {grid.seconds:.0f} s for {len(grid.trials)} | {share:.2f}"
    own = 100 * (1 - rates[tuning.chosen] / rates[grid.best])
    verdict = "met" if met else "MISSED"
    behind = f"{regret.percent:.1f} %{interval} | {own:.1f} %"
    print(f"| {tuning.loader} | {chosen} | {best} | {behind} | {times} | {verdict} |")
    for warning in tuning.warnings:
        print(f"{tuning.loader}: {warning}", file=sys.stderr)
    return met


def main() -> None:
    """Search, measure the grids, print, and fail where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loaders", default="torchvision,webdataset,dali,roi")
    parser.add_argument("--phase", default="load")
    parser.add_argument(
        "--budget", default="45s", help="a quarter of the smallest grid takes a little longer"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path, help="a folder for what was found, a file for each loader")
    arguments = parser.parse_args()
    found = []
    for loader in arguments.loaders.split(","):
        tuning = tune(
            loader,
            arguments.folder,
            budget=arguments.budget,
            phase=arguments.phase,
            batch_sizes=(arguments.batch,),
            exhaustive=True,
            certified=False,
            progress=tell,
        )
        found.append(tuning)
        if arguments.json is not None:
            (arguments.json / f"{loader}.json").write_text(json.dumps(tuning.to_json(), indent=2))
    print(
        "| loader | chosen: images/s | best of the grid: images/s | behind, measured again | "
        "behind, by the grid's medians | search | grid | share | bar |\n|---|---|---|---|---|---|---|---|---|"
    )
    met = [show(tuning) for tuning in found]
    sys.exit(not all(met))


def tell(text: str, done: float, total: float | None) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:100.100} {done:,.0f} of {total or 0:,.0f} s", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
