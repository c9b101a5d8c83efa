"""What measuring costs, and whether our loaders cost more than the libraries that they wrap.

    python tests/benchmarks/overhead.py FOLDER_OF_CLASS_FOLDERS

Exits with 1 where a bar is missed. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from arms import compare, rate
from plain import plain_dali, plain_torchvision, plain_webdataset

from throughput.contracts import Batch, Loader, Work
from throughput.measure.budget import Budget
from throughput.measure.environment import usable_cores
from throughput.measure.feed import Feed
from throughput.measure.ledger import Ledger
from throughput.measure.phases import run_passes
from throughput.measure.statistics import Ratio
from throughput.measure.stream import LoaderStream
from throughput.measure.waiting import HostWaiting
from throughput.registry import load_loader
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack

LOADERS = ("torchvision", "webdataset", "dali")
EMPTY_LIMIT_MICROSECONDS = 100


@dataclass(frozen=True)
class Bar:
    """One line of the outcome."""

    name: str
    ratio: Ratio
    passed: bool


class _EmptyLoader(Loader):
    """The same ready batch at once, again and again."""

    def __init__(self, work: Work) -> None:
        self.samples_per_epoch = len(work.source.ids("train"))
        ids = torch.from_numpy(work.source.ids("train")[: work.batch_size].copy())
        images = torch.zeros((len(ids), 3, work.image_size, work.image_size))
        labels = torch.zeros(len(ids), dtype=torch.int64)
        self._batch = Batch(images.to(memory_format=torch.channels_last), labels, ids)

    def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - every epoch is the same
        for _ in range(100):
            yield self._batch


def empty_loader_microseconds(work: Work, batches: int = 5000) -> float:
    """What the harness adds to a loader that costs nothing, for each batch."""
    loader = _EmptyLoader(work)

    def bare() -> float:
        begin, seen = time.perf_counter(), 0
        while seen < batches:
            for _ in loader.epoch(0):
                seen += 1
        return (time.perf_counter() - begin) / seen

    def harness() -> float:
        stream = LoaderStream(Feed(loader, work), Ledger(work.source.ids("train")), time.perf_counter)
        budget = Budget(steps=batches, repeats=1)
        (one,) = run_passes(stream, lambda _: None, HostWaiting(), budget, time.perf_counter)
        return one.seconds / batches

    costs = sorted(harness() - bare() for _ in range(9))
    return 1e6 * costs[len(costs) // 2]


@contextmanager
def opened(name: str, work: Work) -> Iterator[Loader]:
    """A loader over the work, as the harness opens it."""
    factory = load_loader(name)
    options = factory.Options()
    prepared = factory.prepare(work, options)
    with factory.open(prepared.work, options) as loader:
        yield loader


def harness_rate(loader: Loader, work: Work, settle: int, steps: int) -> Callable[[], float]:
    """Our own measurement of a running loader."""
    stream = LoaderStream(Feed(loader, work), Ledger(work.source.ids("train")), time.perf_counter)
    budget = Budget(steps=steps, repeats=1, warmup_steps=settle)

    def measure() -> float:
        (one,) = run_passes(stream, lambda _: None, HostWaiting(), budget, time.perf_counter)
        return one.images / one.seconds

    return measure


def ready_images(loader: Loader, work: Work) -> Iterator[int]:
    """A bare loop over ready batches, epoch after epoch."""
    feed, epoch = Feed(loader, work), 0
    while True:
        for batch in feed.epoch(epoch):
            yield len(batch.ids)
        epoch += 1


def harness_against_bare_loop(name: str, work: Work, pairs: int, settle: int, steps: int) -> Bar:
    with opened(name, work) as measured, opened(name, work) as bare:
        loop = ready_images(bare, work)
        ratio = compare(harness_rate(measured, work, settle, steps), lambda: rate(loop, settle, steps), pairs)
    return Bar(f"{name}: harness / bare loop", ratio, ratio.high >= 0.98 and ratio.low > 0.95)


def ours_against_plain(
    name: str, work: Work, theirs: Iterator[int], pairs: int, settle: int, steps: int
) -> Bar:
    with opened(name, work) as loader:
        loop = ready_images(loader, work)
        ratio = compare(lambda: rate(loop, settle, steps), lambda: rate(theirs, settle, steps), pairs)
    return Bar(f"{name}: ours / as documented", ratio, ratio.high >= 1 and ratio.low > 0.9)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="class folders of JPEGs")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--pairs", type=int, default=12)
    # Workers finish batches in bursts, so a stretch is off by up to a burst: 2 of 40 are 5 %.
    parser.add_argument("--steps", type=int, default=40, help="measured batches in each half of a pair")
    parser.add_argument("--loader", choices=LOADERS, nargs="+", default=LOADERS)
    parser.add_argument("--only", choices=("empty", "harness", "plain"))
    options = parser.parse_args()
    # Batches that workers finished while the other arm ran, and the time that arm's workers take to finish.
    settle = 6 * options.workers + 2
    torch.set_num_threads(usable_cores())

    with ExitStack() as stack:
        shards = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "shards"
        folder = open_source(options.folder)
        pack(folder, shards)
        packed = open_source(shards)
        assert isinstance(packed, ShardSource)

        def work_of(name: str) -> Work:
            source = packed if name == "webdataset" else folder
            return Work(source, image_size=options.size, batch_size=options.batch, workers=options.workers)

        failed = False
        if options.only in (None, "empty"):
            cost = empty_loader_microseconds(work_of("torchvision"))
            failed |= cost > EMPTY_LIMIT_MICROSECONDS
            print(f"harness around an empty loader: {cost:.1f} us a batch (limit {EMPTY_LIMIT_MICROSECONDS})")
        bars: list[Bar] = []
        arguments = (options.pairs, settle, options.steps)
        if options.only in (None, "harness"):
            bars += [
                _told(harness_against_bare_loop(name, work_of(name), *arguments)) for name in options.loader
            ]
        if options.only in (None, "plain"):
            shape = (options.batch, options.workers, options.size)
            plain = {
                "torchvision": plain_torchvision(options.folder, *shape),
                "webdataset": plain_webdataset(list(packed.shards), *shape),
                "dali": plain_dali(options.folder, *shape),
            }
            bars += [
                _told(ours_against_plain(name, work_of(name), plain[name], *arguments))
                for name in options.loader
            ]
    return 1 if failed or not all(bar.passed for bar in bars) else 0


def _told(bar: Bar) -> Bar:
    verdict = "ok" if bar.passed else "MISSED"
    print(
        f"{bar.name}: {bar.ratio.value:.3f}, "
        f"95 % interval {bar.ratio.low:.3f} to {bar.ratio.high:.3f}: {verdict}",
        flush=True,
    )
    return bar


if __name__ == "__main__":
    sys.exit(main())
