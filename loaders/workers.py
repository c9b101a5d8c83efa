"""torch's DataLoader as the loaders here use it: processes that hand over whole batches of uint8."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from throughput.child_process import folder_of_sockets
from throughput.contracts import Held, Work
from throughput.dead_workers import NO_SOCKET, why_died
from throughput.errors import LoaderError, OptionError, ThroughputError
from throughput.ranks.place import place

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

_STARTS = ("fork", "spawn", "forkserver")
PREFETCHES = (1, 2, 4, 8)
"""Numbers of batches to keep ready that are worth trying, of any loader."""


@dataclass(frozen=True)
class WorkerOptions:
    """prefetch: batches that each worker keeps ready. start: how worker processes are started."""

    prefetch: int = 2
    start: str = "fork"

    def __post_init__(self) -> None:
        if self.prefetch < 1:
            raise OptionError(f"prefetch must be 1 or more, got {self.prefetch}")
        if self.start not in _STARTS:
            raise OptionError(f"start must be one of {', '.join(_STARTS)}, got {self.start!r}")


class Starting(Protocol):
    """The part of a loader's options that says how its workers run."""

    @property
    def prefetch(self) -> int: ...
    @property
    def start(self) -> str: ...


def worker_loader(dataset: Any, work: Work, options: Starting, sampler: Any = None) -> DataLoader[Any]:
    """A DataLoader whose workers persist and whose items are what ``dataset`` yields, uncollated."""
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=work.workers,
        collate_fn=_unchanged,
        pin_memory=work.device.startswith("cuda"),
        persistent_workers=True,
        prefetch_factor=options.prefetch,
        multiprocessing_context=options.start,
        worker_init_fn=_begin,
    )


def shared(images: Tensor) -> Tensor:
    """The same in memory that the parent sees, moved there by the worker itself.

    Left to torch's queue, a batch for which shared memory has no room would be dropped, and waited for
    without end. Raises RuntimeError.
    """
    moved: Tensor = images.share_memory_()  # type: ignore[no-untyped-call] # torch types it not
    return moved


def held_by_workers(workers: int, prefetch: int) -> Held:
    """What each worker keeps ready, and the batch that it is at: all of them travel in shared memory."""
    batches = workers * (prefetch + 1)
    return Held(batches, batches)


def items(running: Iterator[Any]) -> Iterator[Any]:
    """What the workers hand over; an error among it is raised here.

    A worker hands a ThroughputError over as a value, because torch would lose its type on the way.
    Raises LoaderError where a worker died.
    """
    while True:
        try:
            item = next(running)
        except StopIteration:
            return
        except RuntimeError as error:
            raise LoaderError(f"a worker process died: {why_died(str(error))}") from error
        if isinstance(item, ThroughputError):
            raise item
        yield item


def end_workers(dataloader: DataLoader[Any]) -> None:
    """End the worker processes now, not when the garbage collector comes by."""
    running: Any = dataloader._iterator
    if running is not None:
        running._shutdown_workers()  # torch offers no public way
        dataloader._iterator = None


def _begin(_: int) -> None:
    """What a worker process does first."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        # It died while this one was still starting: torch would take whoever adopted it for the parent.
        os._exit(1)
    _leave_ending_to_the_parent()
    _open_the_way_of_batches()


def _open_the_way_of_batches() -> None:
    """Begin to serve file descriptors, by which shared memory reaches the parent.

    The first batch would begin it in a thread whose errors reach nobody, and be waited for without end.
    Raises RuntimeError where no socket can be made in the temporary folder.
    """
    try:
        with Path(os.devnull).open("rb") as file:
            DupFd(file.fileno())
    except OSError as error:
        raise RuntimeError(
            f"{NO_SOCKET} in {folder_of_sockets()} ({error}): set TMPDIR to a folder with room for this "
            "user's files, and a shorter name"
        ) from error


def _leave_ending_to_the_parent() -> None:
    """Ctrl-C in a terminal reaches every process, and the parent may end a batch before it ends all.

    So does any request to end that torchrun hands on, to the whole group of each rank.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if place() is not None:
        os.setpgid(0, 0)


def _unchanged(item: Any) -> Any:
    return item
