"""All ranks' own processes, which exchange what they found through the store."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch.distributed as dist

from throughput.errors import ThroughputError
from throughput.measure.environment import RANK_CORES, usable_cores
from throughput.ranks.company import Company, Seat
from throughput.ranks.cores import own_cores, shares
from throughput.ranks.errors import BrokenTieError, RankLostError
from throughput.ranks.place import Place
from throughput.ranks.signs import INTERRUPTED, Signs
from throughput.ranks.store import connect

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

T = TypeVar("T")

_meetings = itertools.count(1)
"""Of this process; all ranks enter the same ones in the same order."""
_POLL = timedelta(seconds=0.5)
_INTERRUPTED_SECONDS = 3.0
"""To find out whether a rank is gone, or somebody has just pressed Ctrl-C."""
_BROKEN_SECONDS = 18.0
"""To find out which rank is gone, where a connection broke."""
_STORE_SECONDS = 10.0


class Meeting(Company):
    """What is exchanged is pickled, as in torch.distributed: all ranks are of one user."""

    def __init__(self, place: Place, talk: _Talk, signs: Signs, seats: list[Seat]) -> None:
        self.rank, self.size = place.rank, place.world_size
        self.seats = seats
        self.signs = signs
        self.leads_machine = leads(place.rank, [seat.host for seat in seats])
        self._place = place
        self._talk = talk

    def everyone(self, value: T) -> list[T]:
        return self._talk.everyone(value)

    def group(self, name: str, device: str) -> AbstractContextManager[Company]:
        from throughput.ranks.group import process_group

        return process_group(self._place, name, device, self.signs.end)


class _Talk:
    """Values from everyone to everyone, one exchange after the other.

    One in each meeting: a second would count its exchanges from the first again, and find what was said then.
    """

    def __init__(self, store: Store, signs: Signs, rank: int, size: int) -> None:
        self._store, self._signs, self._rank, self._size = store, signs, rank, size
        self._exchanges = 0

    def everyone(self, value: T) -> list[T]:
        self._exchanges += 1
        keys = [f"said/{self._exchanges}/{rank}" for rank in range(self._size)]
        try:
            self._store.set(keys[self._rank], pickle.dumps(value))  # type: ignore[arg-type] # bytes will do
            return [pickle.loads(self._awaited(key)) for key in keys]
        except dist.DistNetworkError as error:
            raise BrokenTieError(f"the store of the ranks is gone: {error}") from error

    def _awaited(self, key: str) -> bytes:
        while True:
            if self._signs.lost is not None:
                raise RankLostError(self._signs.lost)
            try:
                self._store.wait([key], _POLL)
            except dist.DistStoreError:
                continue  # not yet: Ctrl-C and the others' signs are looked at in between
            found: bytes = self._store.get(key)
            return found


@contextmanager
def meeting(place: Place) -> Iterator[Meeting]:
    """All ranks, from when each has come until it leaves. Raises RankLostError, naming one that is gone."""
    # torchrun's store outlives a meeting, and what was said there: the next has a part of its own.
    part = f"all/{next(_meetings)}"
    store = connect(place, part, opens=True)
    names = [f"rank {rank}" for rank in range(place.world_size)]
    signs = Signs(connect(place, part), place.rank, names)
    signs.start()
    words = ""
    try:
        talk = _Talk(store, signs, place.rank, place.world_size)
        told = talk.everyone((socket.gethostname(), own_cores(), usable_cores()))
        for rank, (host, _, _) in enumerate(told):
            names[rank] = f"rank {rank} on {host}"
        signs.look()
        own = shares(told)
        os.environ[RANK_CORES] = str(own[place.rank])
        seats = [Seat(host, cores, share) for (host, cores, _), share in zip(told, own, strict=True)]
        yield Meeting(place, talk, signs, seats)
    except BaseException as error:
        _stay()
        cause = _cause(signs, error)
        words = INTERRUPTED if isinstance(error, KeyboardInterrupt) else _words(error)
        if cause is not None:
            words = cause
            raise RankLostError(cause) from error
        raise
    finally:
        os.environ.pop(RANK_CORES, None)
        signs.leave(words)
        if place.keeps_store:
            signs.wait_for_others(_STORE_SECONDS)


def leads(rank: int, hosts: list[str]) -> bool:
    """Whether a rank is the lowest of its machine."""
    return hosts.index(hosts[rank]) == rank


def _stay() -> None:
    """torchrun asks all ranks to end when one has: what is said about it is not to be cut short."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _cause(signs: Signs, error: BaseException) -> str | None:
    """Which rank is gone, where that is why this one ends."""
    if isinstance(error, RankLostError):
        return str(error)
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return signs.cause(_INTERRUPTED_SECONDS, interrupted=True)
    if isinstance(error, BrokenTieError) or not isinstance(error, ThroughputError):
        return signs.cause(_BROKEN_SECONDS)
    return None


def _words(error: BaseException) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__
