"""What ``roi.verify=1`` finds, and what it costs.

    python tests/benchmarks/verifying.py FOLDER_OF_CLASS_FOLDERS

Flips single bits of packed samples and counts how many are found; then measures what holding every sample
against its checksum costs. Exits with 1 where a flipped bit was not found.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from throughput.contracts import Work
from throughput.errors import SampleError
from throughput.loaders.regions import Renderer, Ways
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import MOST_GROWTH, pack

REPEATS = 5


def found(source: ShardSource, flips: int) -> int:
    """Flipped bits that are found, each in a random sample and put right again."""
    renderer = Renderer(Work(source), Ways(verify=True))
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(flips):
        sample = int(rng.integers(len(source.labels)))
        place = int(source.offsets[sample] + rng.integers(source.sizes[sample]))
        shard = source.shards[source.shard_of[sample]]
        bit = 1 << int(rng.integers(8))
        _flip(shard, place, bit)
        try:
            renderer.read(np.array([sample]))
        except SampleError as error:
            named += error.sample == source.describe(sample)
        _flip(shard, place, bit)
    return named


def _flip(shard: str, place: int, bit: int) -> None:
    """In place: the file that is mapped stays the same."""
    descriptor = os.open(shard, os.O_RDWR)
    byte = os.pread(descriptor, 1, place)[0]
    os.pwrite(descriptor, bytes((byte ^ bit,)), place)
    os.close(descriptor)


def cost(source: ShardSource) -> tuple[float, float]:
    """Milliseconds of one core for an image, without and with verifying."""
    work = Work(source)
    ids = source.ids("train")
    out = np.empty((len(ids), work.image_size, work.image_size, 3), np.uint8)
    spent = []
    renderers = [Renderer(work, Ways(verify=verify)) for verify in (False, True)]
    for renderer in renderers:
        renderer.render(0, ids[:2], out[:2])
    for _ in range(REPEATS):
        for place, renderer in enumerate(renderers):
            begin = time.thread_time()
            renderer.render(0, ids, out)
            spent.append((place, 1e3 * (time.thread_time() - begin) / len(ids)))
    return min(one for place, one in spent if not place), min(one for place, one in spent if place)


def main() -> None:
    """Print what was found, and fail where something was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flips", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pack(open_source(arguments.folder), Path(folder), growth=MOST_GROWTH)
        source = open_source(folder)
        assert isinstance(source, ShardSource)
        named = found(source, arguments.flips)
        print(f"{named} of {arguments.flips} flipped bits were found, and their samples named")
        without, verified = cost(source)
        print(
            f"an image takes {without:.2f} ms of one core, {verified:.2f} ms with its checksum: "
            f"{100 * (verified / without - 1):.0f} % more"
        )
    sys.exit(named < arguments.flips)


if __name__ == "__main__":
    main()
