"""Whether a loader's memory stays flat, epoch after epoch.

    python tests/benchmarks/memory.py FOLDER_OF_CLASS_FOLDERS --loader roi

Prints the resident memory of this process and its workers after some epochs; exits with 1 where the last
ten epochs took more than the first ten, by more than a twentieth.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import psutil

from throughput.contracts import Work
from throughput.measure.environment import usable_cores
from throughput.measure.feed import Feed
from throughput.registry import load_loader
from throughput.sources import open_source

MOST_GROWTH = 1.05


def resident_bytes() -> int:
    """Of this process and all below it; pages that they share count in each."""
    process = psutil.Process()
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


def main() -> None:
    """Read epoch after epoch, and compare the first with the last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loader", default="roi")
    parser.add_argument("--epochs", type=int, default=50)
    arguments = parser.parse_args()
    factory = load_loader(arguments.loader)
    options = factory.Options()
    work = Work(open_source(arguments.folder), batch_size=64, workers=usable_cores())
    work = factory.prepare(work, options).work
    peaks = []
    with factory.open(work, options) as loader:
        feed = Feed(loader, work)
        for epoch in range(arguments.epochs):
            peaks.append(max(resident_bytes() for _ in feed.epoch(epoch)))
            if epoch % 10 in (0, 9):
                print(f"epoch {epoch + 1}: {peaks[-1] / 1e6:,.0f} MB")
    first, last = max(peaks[:10]), max(peaks[-10:])
    told = f"{first / 1e6:,.0f} MB in the first ten epochs, {last / 1e6:,.0f} MB in the last"
    print(f"{arguments.loader}: at most {told}")
    sys.exit(last > MOST_GROWTH * first)


if __name__ == "__main__":
    main()
