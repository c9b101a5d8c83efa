"""How often a certificate is wrong: each fault over several seeds, and honest loaders over many.

    python tests/benchmarks/false_alarms.py --seeds 10 --honest 50

Prints the fault table as markdown. Not part of the test run: it takes minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "certificate"))

from faults import FURTHER, REQUIRED, Fault
from pipelines import PlainDaliFactory, PlainTorchvisionFactory

from throughput.certificate import make_certificate
from throughput.certificate.images import own_images
from throughput.contracts import LoaderFactory, Work
from throughput.registry import load_loader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each fault")
    parser.add_argument("--honest", type=int, default=50, help="certificates of honest loaders")
    parser.add_argument("--size", type=int, default=64, help="side of the crops in pixels")
    parser.add_argument("--further", action="store_true", help="faults beyond the required ones as well")
    arguments = parser.parse_args()
    work = Work(own_images("steady", 3).source, image_size=arguments.size, batch_size=64, workers=2)
    faults = [*REQUIRED, *(FURTHER if arguments.further else ())]
    print(f"| fault ({arguments.size} px) | caught by | seeds |\n|---|---|---|")
    missed = sum(try_fault(fault, work, arguments.seeds) for fault in faults)
    print("\n| honest loader | certificates | not comparable | seconds, median |\n|---|---|---|---|")
    alarms = try_honest(work, arguments.honest)
    sys.exit(1 if missed or alarms else 0)


def try_fault(fault: Fault, work: Work, seeds: int) -> int:
    """Print the fault's row; how many seeds did not show it to each of its checks."""
    caught = 0
    for seed in range(seeds):
        certificate = make_certificate(fault.factory, None, replace(work, seed=seed), data=False)
        caught += set(fault.caught_by) <= {check.name for check in certificate.failed}
    checks = ", ".join(f"`{name}`" for name in fault.caught_by)
    print(f"| {fault.name} | {checks} | {caught} of {seeds} |", flush=True)
    return seeds - caught


def honest() -> Iterator[tuple[str, LoaderFactory, Any]]:
    """The loaders here, and pipelines that draw crops of their own."""
    for name in ("torchvision", "webdataset", "dali", "roi"):
        factory = load_loader(name)
        yield name, factory, factory.Options()
    yield "torchvision's transforms, workers seeded by torch", PlainTorchvisionFactory(1), None
    yield "torchvision's transforms v2 on tensors", PlainTorchvisionFactory(2), None
    yield "DALI's fn.random_resized_crop", PlainDaliFactory(), None


def try_honest(work: Work, certificates: int) -> int:
    """Print a row for each honest loader; how many certificates were refused."""
    made: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    seconds: dict[str, list[float]] = {}
    for seed, (name, factory, options) in enumerate(islice(cycle(honest()), certificates)):
        certificate = make_certificate(factory, options, replace(work, seed=seed), data=True)
        made[name] += 1
        refused[name] += not certificate.comparable
        seconds.setdefault(name, []).append(certificate.seconds)
        for check in certificate.failed:
            print(f"{name}, seed {seed}: {check.name}: {check.words}", file=sys.stderr)
    for name, count in made.items():
        print(f"| {name} | {count} | {refused[name]} | {median(seconds[name]):.1f} |")
    return sum(refused.values())


if __name__ == "__main__":
    main()
