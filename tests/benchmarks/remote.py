"""Every loader on shards behind a slow network: how near its limit they come, and whether all samples come.

    python tests/benchmarks/remote.py [--photos 3000] [--rate 20] [--resets 50]

nginx serves the shards (apt-get install nginx-light). The network is an interface of a namespace that is
limited for all connections together (ip, tc; needs root), or, where that cannot be had, a bucket of tokens
in the proxy that resets one request in ``--resets``. A loader's cache of blocks is empty when its pass
begins; the pass is an epoch from the opening of the loader on. Exits with 1 where a loader reaches less than
90 % of the limit, or a sample does not come exactly once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "remote"))

from servers import Proxy, nginx, now_and_then

from throughput.contracts import Work
from throughput.measure.budget import Budget
from throughput.measure.network import measure_limit
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Plan
from throughput.measure.rounds import measure_rounds
from throughput.results import Row
from throughput.sources import open_source
from throughput.sources.pack import MOST_GROWTH, pack
from throughput.sources.remote.source import RemoteShardSource
from throughput.sources.synthetic import write_synthetic

LEAST_SHARE = 0.9
_SHUFFLE = 100
"""A buffer of 1,000 would hold a good part of so small a set before the first image is decoded."""
ARMS: dict[str, tuple[str, dict[str, object]]] = {
    "torchvision": ("torchvision", {}),
    "webdataset": ("webdataset", {"shuffle": _SHUFFLE}),
    "dali": ("dali", {}),
    "roi": ("roi", {}),
    "roi, stream": ("roi", {"order": "stream", "shuffle": _SHUFFLE}),
}
_NAMESPACE, _OUTSIDE, _INSIDE = "throughput-remote", "10.213.77.1", "10.213.77.2"
_BURST_BYTES, _FRAME_BYTES = 64 << 10, 9000


@contextmanager
def limited_interface(bytes_per_second: float) -> Iterator[None]:
    """A network namespace behind an interface of that rate. Raises CalledProcessError where there is none."""

    def run(command: str) -> None:
        subprocess.run(command.split(), check=True, capture_output=True)

    run(f"ip netns add {_NAMESPACE}")
    try:
        run(f"ip link add tp-out type veth peer name tp-in netns {_NAMESPACE}")
        run(f"ip addr add {_OUTSIDE}/30 dev tp-out")
        # Frames as large as a data centre has, so that headers take little of the rate.
        run(f"ip link set tp-out mtu {_FRAME_BYTES} up")
        inside = f"ip netns exec {_NAMESPACE}"
        run(f"{inside} ip addr add {_INSIDE}/30 dev tp-in")
        run(f"{inside} ip link set tp-in mtu {_FRAME_BYTES} up")
        run(f"{inside} ip link set lo up")
        rate = f"rate {round(8 * bytes_per_second)}bit burst {_BURST_BYTES} latency 100ms"
        run(f"{inside} tc qdisc add dev tp-in root tbf {rate}")
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", _NAMESPACE], check=False, capture_output=True)


@contextmanager
def served(root: Path, scratch: Path, rate: float, resets: int) -> Iterator[tuple[Proxy, str]]:
    """The proxy in front of a server of ``root``, and in words what limits it."""
    plan = now_and_then("reset", every=resets, first=resets // 2)
    with ExitStack() as stack:
        try:
            stack.enter_context(limited_interface(rate))
        except (subprocess.CalledProcessError, OSError) as error:
            said = getattr(error, "stderr", b"") or str(error).encode()
            words = (
                f"a bucket of tokens in the proxy (no interface could be limited: {said.decode().strip()})"
            )
            port = stack.enter_context(nginx(root, scratch / "nginx"))
            yield stack.enter_context(Proxy(port, plan, bytes_per_second=rate)), words
            return
        inside = ("ip", "netns", "exec", _NAMESPACE)
        port = stack.enter_context(nginx(root, scratch / "nginx", host=_INSIDE, within=inside))
        yield stack.enter_context(Proxy(port, plan, host=_INSIDE)), "an interface limited by tc tbf"


def measured(proxy: Proxy, work: Work, loader: str, options: dict[str, object]) -> tuple[Row, int]:
    """One epoch of a loader from an empty cache, and how many of its requests were reset."""
    batches = -(-len(work.source.ids("train")) // work.batch_size)
    plan = Plan(loader, work, "cnn_small", options, ("load",), Budget(steps=batches, repeats=1), cache="cold")
    before = proxy.harmed
    with Nursery() as nursery:
        (row,) = measure_rounds((plan,), nursery)
    return row, proxy.harmed - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=20.0, help="megabytes a second")
    parser.add_argument("--resets", type=int, default=50, help="one request in so many is reset")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--size", type=int, default=224)
    chosen = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    missed = 0
    with tempfile.TemporaryDirectory(prefix="tp-") as folder:
        scratch = Path(folder)
        os.environ["THROUGHPUT_CACHE"] = str(scratch / "cache")
        write_synthetic(scratch / "photos", count=chosen.photos)
        pack(open_source(scratch / "photos"), scratch / "root" / "shards", growth=MOST_GROWTH)
        with served(scratch / "root", scratch, 1e6 * chosen.rate, chosen.resets) as (proxy, words):
            source = open_source(f"http://127.0.0.1:{proxy.port}/shards")
            assert isinstance(source, RemoteShardSource)
            work = Work(source, image_size=chosen.size, batch_size=64, workers=chosen.workers)
            print(
                f"{chosen.photos} photos in {len(source.shards)} shards, "
                f"{source.encoded_bytes() / 1e6:,.1f} MB; "
                f"{chosen.rate:g} MB/s by {words}; one request in {chosen.resets} reset\n"
            )
            plain = measure_limit(source, seconds=5.0) or 0.0
            print(f"a plain parallel download reaches {plain / 1e6:.2f} MB/s\n")
            print(
                "| loader | images | MB read | seconds | MB/s | of the limit | MB/s while under way "
                "| requests | reset | once each |"
            )
            print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
            for name, (loader, options) in ARMS.items():
                row, harmed = measured(proxy, work, loader, options)
                missed += not show(name, row, harmed, 1e6 * chosen.rate)
    return 1 if missed else 0


def show(name: str, row: Row, harmed: int, limit: float) -> bool:
    """Print a loader's line; whether it met the floor."""
    cache, remote = row.cache, row.remote
    if row.status != "ok" or cache is None or remote is None or row.ledger is None or not cache.cold_seconds:
        print(f"| {name} | {row.status}: {row.reason} | | | | | | | | |")
        return False
    rate = cache.bytes_read / cache.cold_seconds
    once = row.ledger.exact and any(epoch.complete for epoch in row.ledger.epochs)
    print(
        f"| {name} | {cache.images:,} | {cache.bytes_read / 1e6:,.1f} | {cache.cold_seconds:.2f} "
        f"| {rate / 1e6:.2f} | {100 * rate / limit:.1f} % | {remote.megabytes_per_second or 0:.2f} "
        f"| {remote.requests:,} | {harmed} "
        f"| {'yes' if once else 'NO'} |",
        flush=True,
    )
    return once and rate >= LEAST_SHARE * limit


if __name__ == "__main__":
    sys.exit(main())
