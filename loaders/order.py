"""The order of samples that reads shard by shard, for storage that is slow at jumping about."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Work
from throughput.kernel import kernel
from throughput.resuming import NOTHING, Delivered
from throughput.sources.shards import ShardSource


def streamed_batches(
    work: Work, source: ShardSource, epoch: int, shuffle: int, delivered: Delivered = NOTHING
) -> list[NDArray[np.int64]]:
    """This rank's train batches, ids (N,) int64 each: shards in random order through a shuffle buffer.

    What comes next is drawn from the ``shuffle`` samples that would have been read and not yet used. The
    order is a function of (seed, epoch, rank) alone. Ranks take stretches of equal length of one order of
    all shards. What was delivered of this epoch is left out.
    """
    return _batches(work, _stream(work, source, epoch, delivered), epoch, shuffle, delivered)


def advised_batches(
    work: Work, source: ShardSource, epoch: int, shuffle: int, delivered: Delivered = NOTHING
) -> Iterator[NDArray[np.int64]]:
    """The same batches, one by one; the kernel is told of samples as they enter the buffer.

    So it reads the shards in the order of their bytes, though samples leave the buffer in another.
    """
    stream = _stream(work, source, epoch, delivered)
    entering, waiting = iter(delivered.left_to_rank(epoch, stream).tolist()), shuffle
    for ids in _batches(work, stream, epoch, shuffle, delivered):
        for sample in islice(entering, waiting + len(ids)):
            source.advise(sample)
        waiting = 0  # the buffer is full
        yield ids


def compile_order() -> None:
    """Compile what an order takes, or load it compiled, before anybody waits for a batch."""
    _through_buffer(np.arange(3), 2, np.random.default_rng(0))


def _stream(work: Work, source: ShardSource, epoch: int, delivered: Delivered) -> NDArray[np.int64]:
    """This rank's share, in the order in which it lies in shards that come in random order."""
    rng = np.random.default_rng([work.seed, epoch])
    wanted = np.zeros(len(source.labels), np.bool_)
    wanted[source.ids("train")] = True
    shards = [source.shard_ids(int(shard)) for shard in rng.permutation(len(source.shards))]
    stream = delivered.left_to_all(epoch, np.concatenate([ids[wanted[ids]] for ids in shards]))
    first = len(stream) * work.rank // work.world_size
    return stream[first : len(stream) * (work.rank + 1) // work.world_size]


def _batches(
    work: Work, stream: NDArray[np.int64], epoch: int, shuffle: int, delivered: Delivered
) -> list[NDArray[np.int64]]:
    ids = _through_buffer(stream, shuffle, np.random.default_rng([work.seed, epoch, work.rank]))
    ids = delivered.left_to_rank(epoch, ids)  # behind the buffer: the rest keeps its order
    return [ids[begin : begin + work.batch_size] for begin in range(0, len(ids), work.batch_size)]


def _through_buffer(stream: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    buffer, following = stream[:size].copy(), stream[size:]
    leaving = rng.integers(0, max(1, len(buffer)), len(following))
    out = np.empty_like(stream)
    _exchange(buffer, following, leaving, out)
    out[len(following) :] = rng.permutation(buffer)
    return out


@kernel
def _exchange(buffer, following, leaving, out):
    """While the stream lasts, each sample that leaves the buffer makes room for the next one."""
    for place in range(len(following)):
        out[place] = buffer[leaving[place]]
        buffer[leaving[place]] = following[place]
