"""``roi``: decode only the region of each JPEG that its crop keeps, by threads.

Restart markers make a JPEG addressable: the intervals that cover a crop are spliced into a small JPEG
(``throughput.jpeg``), which a SIMD decoder decodes in less time than the whole, and which is resized into
its place in the batch. Shards of ``throughput pack --restart`` have the markers; other JPEGs and other
formats are decoded whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_all_start_methods
from typing import TYPE_CHECKING, Literal

import numpy as np

from throughput.contracts import (
    Held,
    Loader,
    LoaderFactory,
    Prepared,
    Progress,
    Requirement,
    Work,
    no_progress,
)
from throughput.errors import OptionError, RoomError
from throughput.loaders.workers import PREFETCHES, held_by_workers
from throughput.registry import missing_requirements
from throughput.sources.arrays import ArraySource
from throughput.sources.conversion import packed_copy
from throughput.sources.pack import MOST_GROWTH
from throughput.sources.remote.source import RemoteShardSource
from throughput.sources.shard_index import has_index
from throughput.sources.shards import ShardSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORDERS = ("global", "stream")
_THREADS_A_PROCESS = 8
"""Threads that one process keeps busy; each image holds the GIL for a few per cent of its time."""
_SLOWER = "roi decodes images without restart intervals whole, which is slower"
_LEAST_AHEAD = 2
"""Batches, about, whose parts keep all threads busy whatever ``prefetch`` says."""


@dataclass(frozen=True)
class RoiOptions:
    """prefetch: batches made ahead. order: ``global`` shuffles all samples, ``stream`` reads shard by shard.

    shuffle: samples in the shuffle buffer of ``stream``. processes: 0 chooses; workers are threads.
    prepare: pack what lies here without restart intervals into the cache folder, if it has room; what is not
    shards is packed for ``stream`` anyhow. region: 0 decodes whole images. dct_scale: 1 decodes at half size
    where the crop is at least twice its target (not the canonical pixels). start: how processes are started.
    decode: ``gpu`` hands the regions to DALI, which decodes them on the device.
    """

    prefetch: int = 2
    order: str = "global"
    shuffle: int = 1000
    processes: int = 0
    prepare: bool = True
    region: bool = True
    dct_scale: bool = False
    start: str = "fork"
    decode: str = "cpu"

    def __post_init__(self) -> None:
        if self.order not in _ORDERS:
            raise OptionError(f"order must be one of {', '.join(_ORDERS)}, got {self.order!r}")
        if self.decode not in ("cpu", "gpu"):
            raise OptionError(f"decode must be cpu or gpu, got {self.decode!r}")
        starts = get_all_start_methods()
        if self.start not in starts:
            raise OptionError(f"start must be one of {', '.join(starts)}, got {self.start!r}")
        alone = [name for name in ("dct_scale", "processes") if getattr(self, name)]
        if self.decode == "gpu" and (alone or self.order != "global" or not self.region):
            raise OptionError(
                "decode=gpu goes with prefetch and prepare alone: leave out the other options of roi"
            )
        for name, least in (("prefetch", 1), ("shuffle", 1), ("processes", 0)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} must be {least} or more, got {getattr(self, name)}")


class RoiLoaderFactory(LoaderFactory):
    """Regions of JPEGs with restart intervals, decoded by threads."""

    name = "roi"
    about = "decodes only the region of a JPEG that its crop keeps; made for shards of `pack --restart`"
    requires = (
        Requirement("torch", "pip install torch"),
        Requirement("simplejpeg", "pip install simplejpeg"),
        Requirement("numba", "pip install numba"),
    )
    Options = RoiOptions

    def decode(self, work: Work, options: RoiOptions) -> Literal["cpu", "gpu"]:  # noqa: ARG002 - part of the contract
        """On the CPU unless the options say otherwise."""
        return "gpu" if options.decode == "gpu" else "cpu"

    def prepare(self, work: Work, options: RoiOptions, progress: Progress = no_progress) -> Prepared:
        """Pack a source without restart intervals into the cache folder, where it has room for it.

        Warns where it has none, of shards that have lost their index, and of those on a server, which are
        not packed: all would be fetched, beside the cache. Raises RoomError where nothing else will do, and
        CacheError for a cache folder that is not one's own.
        """
        source = work.source
        must_pack = options.order == "stream" and not isinstance(source, ShardSource)
        if isinstance(source, ShardSource) and source.growth is not None:
            return Prepared(work, warning=_lost_index(source))
        if not (options.prepare or must_pack):
            return Prepared(work)
        if isinstance(source, RemoteShardSource):
            return Prepared(work, warning=_without_intervals(source))
        if isinstance(source, ArraySource) and not must_pack:
            return Prepared(work)  # no JPEGs, so no restart intervals
        try:
            copy = packed_copy(source, progress, MOST_GROWTH, work.on_error)
        except RoomError as error:
            if must_pack:
                raise
            return Prepared(work, warning=f"{_SLOWER}: {error}")
        return Prepared(replace(work, source=copy.source), copy.seconds, copy.bytes, copy.folder)

    @contextmanager
    def open(self, work: Work, options: RoiOptions) -> Iterator[Loader]:
        """Threads (or processes) start with the first batch and end with the context."""
        if options.decode == "gpu":
            if not work.device.startswith("cuda"):
                raise OptionError(f"roi.decode=gpu needs --device cuda, got {work.device}: leave it out")
            from throughput.loaders.region_dali import DALI, dali_loader

            if missing := missing_requirements(DALI):
                needs = "; ".join(f"{one.module} is missing: {one.install}" for one in missing)
                raise OptionError(f"roi.decode=gpu decodes by DALI: {needs}")
            with closing(dali_loader(work, options.prefetch, "gpu")) as loader:
                yield loader
            return
        from throughput.loaders.region_batches import open_loader

        with closing(open_loader(work, options, _processes(work, options))) as loader:
            yield loader

    def stage_seconds(self, work: Work, options: RoiOptions, ids: NDArray[np.int64]) -> dict[str, float]:
        """What a thread does with ``ids``, step by step; empty where a GPU decodes: timed as a whole."""
        if options.decode == "gpu":
            return {}
        from throughput.loaders.region_batches import new_renderer
        from throughput.measure.stages import core_seconds

        renderer = new_renderer(work, options)
        out = np.empty((len(ids), work.image_size, work.image_size, work.channels), np.uint8)
        renderer.render(0, ids[:1], out[:1])  # compiled from here on
        samples, finding = core_seconds(lambda: renderer.read(ids))
        wanted, drawing = core_seconds(lambda: renderer.wanted(0, samples))
        seconds = {"read": finding, "decode": 0.0, "transform": drawing}
        for sample, one, place in zip(samples, wanted, out, strict=True):
            encoded, spent = core_seconds(partial(renderer.cut, sample, one))
            seconds["read"] += spent
            decoded, spent = core_seconds(partial(renderer.decode, encoded, sample, one))
            seconds["decode"] += spent
            _, spent = core_seconds(partial(renderer.transform, decoded, one, place))
            seconds["transform"] += spent
        return {name: spent / len(ids) for name, spent in seconds.items()}

    def tunable(self, work: Work, options: RoiOptions) -> Mapping[str, Sequence[int]]:
        """How far the threads go ahead, and among how many processes they are shared out."""
        if options.decode == "gpu":
            return {"prefetch": PREFETCHES}
        usual = _usual_processes(work)
        others = {usual // 2, 2 * usual} & set(range(1, work.workers + 1))
        return {"prefetch": PREFETCHES, "processes": (0, *sorted(others))}

    def held(self, work: Work, options: RoiOptions) -> Held:
        """In this process; several hand what they have made over in shared memory."""
        if options.decode == "gpu":
            return Held(0, 0)
        made = max(options.prefetch, _LEAST_AHEAD) + 1
        processes = _processes(work, options)
        if processes == 1:
            return Held(made, 0)
        handed_over = held_by_workers(processes, options.prefetch)
        return Held(processes * made + handed_over.batches, handed_over.shared)


def _processes(work: Work, options: RoiOptions) -> int:
    """Among how many processes the threads are shared out."""
    return min(options.processes or _usual_processes(work), work.workers)


def _usual_processes(work: Work) -> int:
    """As many as keep each one's threads out of each other's way."""
    return -(-work.workers // _THREADS_A_PROCESS)


def _without_intervals(source: RemoteShardSource) -> str:
    return (
        f"{_SLOWER}: {source.location} was packed without, and shards on a server are not packed unasked; "
        "pack with --restart before you upload"
    )


def _lost_index(source: ShardSource) -> str | None:
    """A warning where no index lies beside some of the shards."""
    shards = [str(path) for path in source.files()]
    lost = [shard for shard in shards if not has_index(shard)]
    if not lost:
        return None
    return (
        f"the index (.npy files) beside {len(lost)} of {len(shards)} shards of {source.location} is gone "
        f"({lost[0]}), so restart markers are looked for in every image of theirs, which is slower: "
        "copy it along, or pack again"
    )
