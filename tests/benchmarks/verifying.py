"""What the checksums of packed samples find, and what they cost.

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
from throughput.sources.checksum import checksum
from throughput.sources.pack import MOST_GROWTH, pack

REPEATS = 5


def found(source: ShardSource, flips: int) -> int:
    """Flipped bits that are found, each in a random sample and put right again."""
    renderer = Renderer(Work(source), Ways())
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
    """Milliseconds of one core for an image: all of its rendering, and its checksum alone."""
    work = Work(source)
    ids = source.ids("train")
    out = np.empty((len(ids), work.image_size, work.image_size, 3), np.uint8)
    encoded = [source.read(sample) for sample in ids.tolist()]
    renderer = Renderer(work, Ways())
    renderer.render(0, ids[:2], out[:2])
    rendering, checking = [], []
    for _ in range(REPEATS):
        begin = time.thread_time()
        renderer.render(0, ids, out)
        between = time.thread_time()
        for data in encoded:
            checksum(data)
        rendering.append(between - begin)
        checking.append(time.thread_time() - between)
    return 1e3 * min(rendering) / len(ids), 1e3 * min(checking) / len(ids)


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
        whole, checking = cost(source)
        share = 100 * checking / whole
        print(f"of {whole:.2f} ms of one core an image, its checksum takes {checking:.4f} ms ({share:.1f} %)")
    sys.exit(named < arguments.flips)


if __name__ == "__main__":
    main()
