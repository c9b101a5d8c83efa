"""All loaders beside what teams run today: ready batches, interleaved, and how near ``roi`` is to its limit.

    python tests/benchmarks/loaders.py FOLDER_OF_CLASS_FOLDERS

Every arm's batches are finished by ``feed``: normalised float32, channels_last. Nothing else should run on
the machine meanwhile. Exits with 1 where a floor is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path

from limit import Limit, measure_limits, middle

from throughput.contracts import Work, no_progress
from throughput.measure.budget import Budget
from throughput.measure.environment import usable_cores
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Plan
from throughput.measure.rounds import measure_rounds
from throughput.measure.statistics import Ratio, paired_ratio
from throughput.registry import load_loader
from throughput.results import Row
from throughput.sources import open_source

STOCK, FUSED = "stock:stock_torchvision", "stock:dali_fused"
DECODE_JPEG = "stock:torchvision_decode_jpeg"
WHOLE = "roi, whole images"
FLOORS = {STOCK: 3.3, FUSED: 1.9, DECODE_JPEG: 1.5, WHOLE: 1.4}
"""How many times as fast as each of these ``roi`` must be."""
LEAST_SHARE = 0.8
LEAST_SCALING = 1.85


def arms(work: Work, packed: Work, budget: Budget) -> dict[str, Plan]:
    """Each arm's name and plan. The others read the files; roi and webdataset the packed shards of them."""
    names = [STOCK, DECODE_JPEG, FUSED, "torchvision", "dali"]
    plans = {name: Plan(name, work, "cnn_small", {}, ("load",), budget) for name in names}
    plans["webdataset"] = Plan("webdataset", packed, "cnn_small", {}, ("load",), budget)
    plans[WHOLE] = Plan("roi", packed, "cnn_small", {"region": False}, ("load",), budget)
    plans["roi"] = Plan("roi", packed, "cnn_small", {}, ("load",), budget)
    return plans


def scaling(packed: Work, budget: Budget) -> Ratio:
    """``roi`` with a worker on each of two cores over one worker on one core, in turns."""
    arms = [(packed.workers, None), (1, 1)]
    rates: tuple[list[float], list[float]] = ([], [])
    usable = os.sched_getaffinity(0)
    for number in range(budget.repeats):
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            workers, cores = arms[place]
            os.sched_setaffinity(0, sorted(usable)[:cores])
            try:
                with Nursery() as nursery:  # its processes inherit the cores
                    plan = Plan(
                        "roi",
                        replace(packed, workers=workers, seed=number),
                        "cnn_small",
                        {},
                        ("load",),
                        replace(budget, repeats=1),
                    )
                    (row,) = measure_rounds((plan,), nursery, tell)
            finally:
                os.sched_setaffinity(0, usable)
            if row.load is None:
                sys.exit(f"roi: {row.reason}")
            rates[place].extend(row.load.rates)
    return paired_ratio(*rates)


def show(name: str, row: Row, roi: Row, cores: int) -> bool:
    """Print an arm's line; whether it meets its floor."""
    if row.load is None or roi.load is None:
        print(f"| {name} | {row.status}: {row.reason} | | | |")
        return name not in FLOORS
    rate = row.load.images_per_second.median
    ratio = paired_ratio(roi.load.rates, row.load.rates)
    floor = FLOORS.get(name)
    met = floor is None or ratio.value >= floor
    told = "" if floor is None else f"{floor:.1f}: {'met' if met else 'MISSED'}"
    print(
        f"| {name} | {rate:,.0f} | {rate / cores:,.0f} "
        f"| {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] | {told} |"
    )
    return met


def show_limit(how: str, limit: Limit, rate: float, cores: int) -> float:
    """Print what one core could do at best, and ``roi`` as a share of that for the touched intervals."""
    touched, exact = cores / limit.touched_seconds, cores / limit.exact_seconds
    print(
        f"\nOne image on one core, {how}: {1e3 * limit.whole_seconds:.3f} ms to decode it whole; the crops "
        f"touch {100 * limit.touched_share:.0f} % of the bytes and keep {100 * limit.exact_share:.0f} %; "
        f"{1e3 * limit.resize_seconds:.3f} ms to resize, {1e3 * limit.finish_seconds:.3f} ms to finish."
    )
    print(
        f"Limit for the touched intervals: {touched:,.0f} images/s; roi reaches {100 * rate / touched:.0f} %."
    )
    print(f"Limit for the exact crops: {exact:,.0f} images/s; roi reaches {100 * rate / exact:.0f} %.")
    return rate / touched


def main() -> None:
    """Measure, print, and fail where a floor is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--only", help="names of arms, separated by semicolons; roi is always among them")
    arguments = parser.parse_args()
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    cores = usable_cores()
    work = Work(open_source(arguments.folder), batch_size=arguments.batch, workers=cores)
    factory = load_loader("roi")
    prepared = factory.prepare(work, factory.Options(), no_progress)
    budget = Budget(seconds=arguments.seconds, repeats=arguments.rounds)
    plans = arms(work, prepared.work, budget)
    if arguments.only:
        wanted = {*arguments.only.split(";"), "roi"}
        plans = {name: plan for name, plan in plans.items() if name in wanted}
    limits = [measure_limits(prepared.work)]
    with Nursery() as nursery:
        rows = dict(zip(plans, measure_rounds(tuple(plans.values()), nursery, tell), strict=True))
    limits.append(measure_limits(prepared.work))
    roi = rows["roi"]
    if roi.load is None:
        sys.exit(f"roi: {roi.reason}")
    print(f"\n{len(work.source.labels)} images, batches of {work.batch_size}, {cores} cores, "
          f"{arguments.rounds} rounds of {arguments.seconds:g} s\n")  # fmt: skip
    print("| loader | images/s | a core | roi is so many times as fast | floor |\n|---|---|---|---|---|")
    met = [show(name, row, roi, cores) for name, row in rows.items()]
    rate = roi.load.images_per_second.median
    alone, together = (middle(ways, statistics.fmean) for ways in zip(*limits, strict=True))
    # The floor is held against the stricter of the two.
    share = show_limit("in passes by one thread, the other cores idle", alone, rate, cores)
    show_limit("in passes by all cores at once", together, rate, cores)
    met.append(share >= LEAST_SHARE)
    if cores == 2:
        found = scaling(prepared.work, replace(budget, repeats=max(3, arguments.rounds)))
        print(f"\n1 to 2 cores: {found.value:.2f} times as fast [{found.low:.2f}, {found.high:.2f}].")
        met.append(found.value >= LEAST_SCALING)
    sys.exit(not all(met))


def tell(text: str, done: float, total: float | None) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:100.100} {done:,.0f} of {total or 0:,.0f} s", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
