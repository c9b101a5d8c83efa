"""How much faster two ranks load than one, each on a core of its own.

    python tests/benchmarks/ranks.py FOLDER_OF_CLASS_FOLDERS --loader roi

One rank on one core, then one on the other, then both at once, in rounds; each has one worker. Prints the
images per second of each, and the median over the rounds of both against the mean of one. Exits with 1 where
that is below 1.8.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LEAST = 1.8


def main() -> None:
    """Measure in rounds, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loader", default="roi")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("two cores are wanted, and this process may use one")
    ratios = []
    for number in range(arguments.rounds):
        one, other = (rate(arguments, [core]) for core in cores)
        both = rate(arguments, cores)
        ratios.append(both / statistics.fmean([one, other]))
        print(f"round {number + 1}: {one:,.0f} and {other:,.0f} images/s alone, {both:,.0f} as two ranks")
    ratio = statistics.median(ratios)
    print(f"{arguments.loader}: two ranks load {ratio:.2f} times as fast as one (at least {LEAST} is wanted)")
    sys.exit(ratio < LEAST)


def rate(arguments: argparse.Namespace, cores: list[int]) -> float:
    """Images per second of the loader alone, of as many ranks as cores, each bound to its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.json")
        bench = (
            f"bench --loader {arguments.loader} --data '{arguments.folder}' --phases load --workers 1 "
            f"--device cpu --repeats 1 --seconds {arguments.seconds} --batch {arguments.batch} "
            f"--no-certificate --json {path}"
        )
        bound = f"cores=({' '.join(map(str, cores))}); exec taskset -c ${{cores[${{LOCAL_RANK:-0}}]}}"
        each = ["bash", "-c", f"{bound} {sys.executable} -m throughput {bench}"]
        if len(cores) > 1:
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            each = [*torchrun, f"--nproc-per-node={len(cores)}", "--no-python", *each]
        done = subprocess.run(each, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"it could not be measured:\n{done.stdout}\n{done.stderr}")
        row = json.loads(path.read_text())["rows"][0]
        return float(row["load"]["images_per_second"]["median"])


if __name__ == "__main__":
    main()
