"""``webdataset``: the WebDataset library streams tar shards in sequence through a shuffle buffer.

Every worker takes a run of equal length from the shards' common order, so the number of shards limits
neither the number of workers nor their balance. Each shard is checked against its index as it goes by:
a sample that is missing or has moved is an error, never a silence. The order of samples depends on the
number of workers, as streaming does; the set of samples, and each sample's crop, does not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from throughput.bad_samples import read_sample
from throughput.contracts import (
    Fault,
    Held,
    Loader,
    LoaderFactory,
    Prepared,
    Progress,
    Requirement,
    Work,
    no_progress,
)
from throughput.errors import LoaderError, OptionError, SampleError, SourceError, ThroughputError
from throughput.loaders.beginning import Beginning
from throughput.loaders.epochs import EpochLoader, Made
from throughput.loaders.workers import (
    PREFETCHES,
    WorkerOptions,
    end_workers,
    held_by_workers,
    items,
    shared,
    worker_loader,
)
from throughput.pixels import render_sound
from throughput.resuming import NOTHING, Delivered
from throughput.sources.ahead import ids_told_ahead
from throughput.sources.conversion import packed_copy
from throughput.sources.shards import ShardSource

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class WebDatasetOptions(WorkerOptions):
    """shuffle: encoded samples in each worker's shuffle buffer; 1 keeps the order of the shards."""

    shuffle: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shuffle < 1:
            raise OptionError(f"shuffle must be 1 or more, got {self.shuffle}")


class WebDatasetLoaderFactory(LoaderFactory):
    """Tar shards in sequence, by worker processes."""

    name = "webdataset"
    about = "tar shards streamed in sequence by the WebDataset library, Pillow decoding"
    requires = (
        Requirement("torch", "pip install torch"),
        Requirement("webdataset", "pip install webdataset"),
    )
    Options = WebDatasetOptions

    def prepare(self, work: Work, options: WebDatasetOptions, progress: Progress = no_progress) -> Prepared:  # noqa: ARG002 - part of the contract
        """Pack a source that is not in shards into the cache folder."""
        if isinstance(work.source, ShardSource):
            return Prepared(work)
        copy = packed_copy(work.source, progress, on_error=work.on_error)
        return Prepared(replace(work, source=copy.source), copy.seconds, copy.bytes, copy.folder)

    @contextmanager
    def open(self, work: Work, options: WebDatasetOptions) -> Iterator[Loader]:
        """Worker processes start with the first batch and end with the context."""
        if not isinstance(work.source, ShardSource):
            raise SourceError(f"{work.source.location} is not in shards: call prepare() first")
        loader = _ShardLoader(work, work.source, options)
        try:
            yield loader
        finally:
            loader.close()

    def stage_seconds(
        self,
        work: Work,
        options: WebDatasetOptions,  # noqa: ARG002 - part of the contract
        ids: NDArray[np.int64],
    ) -> dict[str, float]:
        """What a worker does with as many samples as there are ``ids``, those that it would read first."""
        from throughput.measure.stages import render_stage_seconds

        source = work.source
        assert isinstance(source, ShardSource), "prepare() has packed it"
        runs = epoch_runs(work, source, 0)
        first = [int(sample) for run in runs for sample in run.ids][: len(ids)]
        samples = (data for run in runs for _, data in read_run(source, run))
        return render_stage_seconds(
            work, np.array(first, np.int64), lambda: list(islice(samples, len(first)))
        )

    def tunable(self, work: Work, options: WebDatasetOptions) -> Mapping[str, Sequence[int]]:  # noqa: ARG002 - part of the contract
        """How far the workers go ahead; the shuffle buffer is a matter of the order, not of speed."""
        return {"prefetch": PREFETCHES}

    def held(self, work: Work, options: WebDatasetOptions) -> Held:
        """In shared memory, all of it."""
        return held_by_workers(work.workers, options.prefetch)


_Read = tuple[int, bytes | SampleError]
"""A sample's id and its encoded image, or why that cannot be read."""


class _Run(NamedTuple):
    """A stretch of one shard that one worker decodes: its ids, (M,) int64, in the order of the file."""

    shard: int
    ids: NDArray[np.int64]


def epoch_runs(work: Work, source: ShardSource, epoch: int) -> list[_Run]:
    """What all ranks read in an epoch: the split's samples, shard by shard, shards shuffled in train."""
    shards = np.arange(len(source.shards))
    if work.split == "train":
        shards = np.random.default_rng([work.seed, epoch]).permutation(shards)
    wanted = np.zeros(len(source.labels), np.bool_)
    wanted[source.ids(work.split)] = True
    runs = [_Run(int(shard), ids[wanted[ids]]) for shard in shards for ids in (source.shard_ids(int(shard)),)]
    return [run for run in runs if len(run.ids)]


def reader_runs(runs: list[_Run], reader: int, readers: int) -> list[_Run]:
    """The ``reader``-th of ``readers`` equal stretches (to within one sample) of all runs in a row."""
    total = sum(len(run.ids) for run in runs)
    first, last = total * reader // readers, total * (reader + 1) // readers
    taken, begin = [], 0
    for run in runs:
        ids = run.ids[max(0, first - begin) : max(0, last - begin)]
        if len(ids):
            taken.append(_Run(run.shard, ids))
        begin += len(run.ids)
    return taken


def rank_runs(work: Work, source: ShardSource, epoch: int, delivered: Delivered = NOTHING) -> list[_Run]:
    """This rank's stretch of an epoch, without what was delivered of it: its workers share it out anew."""
    every = [
        run._replace(ids=delivered.left_to_all(epoch, run.ids)) for run in epoch_runs(work, source, epoch)
    ]
    own = reader_runs(every, work.rank, work.world_size)
    left = [run._replace(ids=delivered.left_to_rank(epoch, run.ids)) for run in own]
    return [run for run in left if len(run.ids)]


class _Shards:
    """The pipeline's source: batches (ids, (N, S, S, C) uint8); a worker's last one may be smaller."""

    def __init__(self, work: Work, source: ShardSource, options: WebDatasetOptions) -> None:
        self._work = work
        self._source = source
        self._options = options
        self.beginning = Beginning(len(source.labels))

    def __call__(self) -> Iterator[tuple[NDArray[np.int64], Tensor, list[Fault]] | ThroughputError]:
        import torch

        epoch, delivered = self.beginning.get()
        try:
            samples = self._samples(epoch, delivered)
            while batch := list(islice(samples, self._work.batch_size)):
                ids = np.array([sample for sample, _ in batch], np.int64)
                images, faults = render_sound(self._work, epoch, ids, [data for _, data in batch])
                yield ids, shared(torch.from_numpy(images)), faults
        except ThroughputError as error:
            yield error
        except OSError as error:
            yield SourceError(f"cannot read {error.filename}: {error.strerror}; start again")

    def _samples(self, epoch: int, delivered: Delivered) -> Iterator[_Read]:
        """This worker's share of an epoch, shuffled in train."""
        import webdataset
        from torch.utils.data import get_worker_info

        worker = get_worker_info()
        worker_id, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        reader = self._work.rank * workers + worker_id
        runs = reader_runs(rank_runs(self._work, self._source, epoch, delivered), worker_id, workers)
        told = ids_told_ahead(self._source, (run.ids for run in runs))
        streamed = (sample for run in runs for sample in self._run(run))
        samples = (sample for _, sample in zip(told, streamed, strict=True))
        if self._work.split == "val":
            return samples
        size = self._options.shuffle
        rng = random.Random(f"{self._work.seed} {epoch} {reader}")
        shuffled: Iterator[_Read] = webdataset.shuffle(size, initial=size, rng=rng)(samples)
        return shuffled

    def _run(self, run: _Run) -> Iterator[_Read]:
        """A run in sequence; where that fails and the work goes on, the rest of it place by place."""
        came = 0
        try:
            for sample, data in read_run(self._source, run):
                yield sample, self._checked(sample, data)
                came += 1
        except (LoaderError, SampleError, OSError):
            if self._work.on_error == "raise":
                raise
            for sample in run.ids[came:].tolist():
                yield sample, read_sample(self._work, sample)

    def _checked(self, sample: int, data: bytes) -> bytes | SampleError:
        """The bytes; or that they are not those that were packed, unless the work has that raised."""
        try:
            return self._source.sound(sample, data)
        except SampleError as error:
            if self._work.on_error == "raise":
                raise
            return error


def read_run(source: ShardSource, run: _Run) -> Iterator[tuple[int, bytes]]:
    """Yield (id, encoded image) of a run by reading its shard in sequence.

    Raises LoaderError where the shard no longer holds what its index says.
    """
    from webdataset.tariterators import tar_file_iterator

    members = {source.members[int(sample)]: int(sample) for sample in run.ids}
    # Opened here and not by the library, whose opener would run a name that begins with "pipe:" in a shell.
    with source.open_run(run.shard, run.ids) as stream:
        files = tar_file_iterator(stream, select_files=members.__contains__)
        for sample in run.ids.tolist():
            try:
                file = next(files, None)
            except Exception as error:  # tarfile raises many types on a damaged shard
                raise LoaderError(f"{source.describe(sample)} cannot be read: {error}") from error
            if file is None or members[file["fname"]] != sample:
                raise LoaderError(
                    f"{source.describe(sample)} is missing: "
                    "the shard changed since it was scanned; start again"
                )
            yield sample, file["data"]


class _ShardLoader(EpochLoader):
    endless = False

    def __init__(self, work: Work, source: ShardSource, options: WebDatasetOptions) -> None:
        import webdataset

        super().__init__(work, sum(len(run.ids) for run in rank_runs(work, source, 0)))
        self._source = source
        self._shards = _Shards(work, source, options)
        self._workers = worker_loader(webdataset.DataPipeline(self._shards), work, options)

    def _samples_left(self, delivered: Delivered) -> int:
        return sum(len(run.ids) for run in rank_runs(self._work, self._source, delivered.epoch, delivered))

    def _begin(self, first_epoch: int, delivered: Delivered) -> Iterator[Made]:
        """Workers' whole batches pass through; their last, smaller ones are joined at the end."""
        import torch

        self._shards.beginning.set(first_epoch, delivered)
        rest: list[Made] = []
        for made in (Made(*item) for item in items(iter(self._workers))):
            if len(made.ids) == self._work.batch_size:
                yield made
            else:
                rest.append(made)
        if rest:
            ids = np.concatenate([made.ids for made in rest])
            images = torch.cat([made.images for made in rest])
            faults = {fault.id: fault for made in rest for fault in made.faults}
            for begin in range(0, len(ids), self._work.batch_size):
                part = slice(begin, begin + self._work.batch_size)
                bad = [faults[sample] for sample in ids[part].tolist() if sample in faults]
                yield Made(ids[part], images[part], bad)

    def _end(self) -> None:
        end_workers(self._workers)
