"""Whether a comparison can be believed: the same loader against itself, and against a delay that is known.

    python tests/benchmarks/honesty.py FOLDER_OF_CLASS_FOLDERS

Exits with 1 where a bar is missed. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from throughput.contracts import Work
from throughput.measure.budget import Budget
from throughput.measure.environment import usable_cores
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Plan
from throughput.measure.rounds import measure_rounds
from throughput.measure.statistics import Ratio, paired_ratio
from throughput.sources import open_source

FAKE = "throughput.testing:FakeLoaderFactory"
DELAY_SECONDS = 0.020
COVERED = 0.88
WIDEST_HALF = 0.04


@dataclass(frozen=True)
class Outcome:
    """One line of what was found, and whether it meets its bar."""

    told: str
    passed: bool


def ratio(nursery: Nursery, arms: tuple[Plan, Plan]) -> Ratio:
    """Second over first, over the rounds that both ran in."""
    rates = []
    for row in measure_rounds(arms, nursery):
        if row.load is None:
            raise SystemExit(f"{row.loader}: {row.reason}")
        rates.append(row.load.rates)
    return paired_ratio(rates[1], rates[0])


def against_itself(
    nursery: Nursery, work: Work, loader: str, comparisons: int, pairs: int, seconds: float
) -> Outcome:
    """The same loader in both arms: the interval should cover 1, and be narrow."""
    found = []
    for number in range(comparisons):
        one = plan(work, loader, seed=number, pairs=pairs, seconds=seconds)
        found.append(ratio(nursery, (one, one)))
        show(f"{loader} against itself {number + 1}/{comparisons}", found[-1])
    covered = sum(one.low <= 1 <= one.high for one in found)
    half = statistics.median((one.high - one.low) / 2 for one in found)
    return Outcome(
        f"{loader} against itself, {comparisons} comparisons of {pairs} pairs of {seconds:g} s: the 95 % "
        f"interval covers 1 in {covered} ({100 * covered / comparisons:.0f} %), "
        f"its median half-width is {100 * half:.1f} %",
        covered >= COVERED * comparisons and half <= WIDEST_HALF,
    )


def against_a_delay(nursery: Nursery, work: Work, slower: float, comparisons: int, pairs: int) -> Outcome:
    """A loader that takes ``slower`` times as long for each batch, by the clock."""
    words = {"faster": 0, "slower": 0, "not told apart": 0}
    for number in range(comparisons):
        arms = (
            plan(work, FAKE, seed=number, pairs=pairs, seconds=0.5, batch_seconds=DELAY_SECONDS, inline=True),
            plan(
                work,
                FAKE,
                seed=number,
                pairs=pairs,
                seconds=0.5,
                batch_seconds=DELAY_SECONDS * slower,
                inline=True,
            ),
        )
        found = ratio(nursery, arms)
        word = "slower" if found.high < 1 else "faster" if found.low > 1 else "not told apart"
        words[word] += 1
        show(f"{slower:.2f} times as long {number + 1}/{comparisons}", found)
    enough = words["slower"] >= 0.95 * comparisons if slower >= 1.2 else True
    return Outcome(
        f"{100 * (slower - 1):.0f} % slower by the clock, {comparisons} comparisons of {pairs} pairs: called "
        f"slower in {words['slower']}, not told apart in {words['not told apart']}, "
        f"faster in {words['faster']}",
        enough and words["faster"] == 0,
    )


def plan(work: Work, loader: str, *, seed: int, pairs: int, seconds: float, **options: Any) -> Plan:
    """The loader alone, one pass a round."""
    budget = Budget(seconds=seconds, repeats=pairs)
    return Plan(loader, replace(work, seed=seed), "cnn_small", options, ("load",), budget)


def show(text: str, found: Ratio) -> None:
    print(f"  {text}: {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]", file=sys.stderr)


def main() -> None:
    """Print what was found, and fail where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loader", default="torchvision")
    parser.add_argument("--comparisons", type=int, default=40)
    parser.add_argument("--delays", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=14)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a pass of the loader against itself")
    parser.add_argument("--delay-pairs", type=int, default=5)
    arguments = parser.parse_args()
    work = Work(open_source(arguments.folder), batch_size=16, workers=usable_cores())
    outcomes = []
    with Nursery() as nursery:
        for slower in (1.2, 1.05):
            outcomes.append(against_a_delay(nursery, work, slower, arguments.delays, arguments.delay_pairs))
        outcomes.append(
            against_itself(
                nursery, work, arguments.loader, arguments.comparisons, arguments.pairs, arguments.seconds
            )
        )
    for outcome in outcomes:
        print(f"{'passed' if outcome.passed else 'MISSED'}: {outcome.told}")
    sys.exit(not all(outcome.passed for outcome in outcomes))


if __name__ == "__main__":
    main()
