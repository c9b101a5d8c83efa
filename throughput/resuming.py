"""What of an epoch was delivered, as plain values that a file can hold, and what that leaves.

A loader's state is a mark for each sample and no place in a stream: it fits any number of workers, and the
states of all ranks together fit any number of ranks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Work
from throughput.errors import StateError

Marks = NDArray[np.bool_]
_NONE: Marks = np.zeros(0, np.bool_)
_FITTING = {"data": "other data", "split": "another split", "seed": "another seed"}
"""What must be the same where a state is loaded, and what is said where it is not."""


class Delivered(NamedTuple):
    """The samples of one epoch that need not come again.

    by_all: (N,), by id, those that all ranks had delivered when they last shared out the rest; by_rank: those
    that this rank has delivered since. Either is (0,) where there is none. epoch: -1: nothing of any.
    bad_of_all: how many of the former one rank has met as bad samples, at most; bad_of_rank: of the latter.
    """

    epoch: int
    by_all: Marks = _NONE
    by_rank: Marks = _NONE
    bad_of_all: int = 0
    bad_of_rank: int = 0

    def left_to_all(self, epoch: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of ``ids`` (M,), in their order, that ranks have yet to share out in an epoch."""
        return _unmarked(ids, self.by_all) if epoch == self.epoch else ids

    def left_to_rank(self, epoch: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of this rank's share ``ids`` (M,), in their order, that are left to it in an epoch."""
        return _unmarked(ids, self.by_rank) if epoch == self.epoch else ids

    def continued(self, samples: int) -> Delivered:
        """The same with ``by_rank`` (samples,) of its own, where what the rank delivers now can be marked."""
        by_rank = np.zeros(samples, np.bool_)
        by_rank[: len(self.by_rank)] = self.by_rank
        return self._replace(by_rank=by_rank)


NOTHING = Delivered(-1)
"""Nothing was delivered, of whatever epoch."""


def state_of(work: Work, delivered: Delivered) -> dict[str, Any]:
    """Plain values, which JSON and ``torch.load`` take: for ``delivered_in``, and for ``merged``."""
    return {
        "epoch": delivered.epoch,
        "samples": len(work.source.labels),
        "by_all": packed(delivered.by_all),
        "by_rank": packed(delivered.by_rank),
        "bad_of_all": delivered.bad_of_all,
        "bad_of_rank": delivered.bad_of_rank,
        "rank": work.rank,
        "world_size": work.world_size,
        **_identity(work),
    }


def delivered_in(work: Work, state: Mapping[str, Any]) -> Delivered:
    """What a state tells, for a loader of this work. Raises StateError where it does not fit, in words."""
    identity = _identity(work)
    if not identity.keys() <= state.keys():
        raise StateError(f"this is no state of a loader, which tells {', '.join(identity)} and more")
    for name, value in identity.items():
        if state.get(name) != value:
            raise StateError(
                f"this state was taken with {_FITTING[name]} than {work.source.location}, {work.split}, "
                f"seed {work.seed}: load it with those, or begin anew"
            )
    if state.get("world_size") == 1 != work.world_size:
        state = merged([state])  # one rank is all ranks
    rank, world_size = state.get("rank"), state.get("world_size")
    if rank is not None and (rank, world_size) != (work.rank, work.world_size):
        raise StateError(
            f"this state is that of rank {rank} of {world_size}, and this is rank {work.rank} of "
            f"{work.world_size}: load what throughput.resuming.merged makes of the states of all ranks"
        )
    return _delivered(state, len(work.source.labels))


def merged(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the states of all ranks, taken after the same step, one that any number of ranks can load.

    Raises StateError where they are not that.
    """
    first = dict(states[0]) if states else {}
    common = ("epoch", "samples", "by_all", "bad_of_all", "world_size", *_FITTING)
    ranks = [state.get("rank") for state in states]
    if set(ranks) != set(range(len(ranks))) or first.get("world_size") != len(ranks):
        raise StateError(f"the states of all ranks are wanted, each once, and these are of ranks {ranks}")
    for name in common:
        if any(state.get(name) != first.get(name) for state in states):
            raise StateError(f"these states differ in their {name}: take them all after the same step")
    parts = [_delivered(state, state.get("samples")) for state in states]
    every = np.zeros(first["samples"], np.bool_)
    for one in parts:
        for marks in (one.by_all, one.by_rank):
            every[: len(marks)] |= marks
    # The limit on bad samples is each rank's: no rank is to reach it by what it did not meet.
    bad = parts[0].bad_of_all + max(one.bad_of_rank for one in parts)
    marked = {"by_all": packed(every), "by_rank": "", "bad_of_all": bad, "bad_of_rank": 0}
    return first | marked | {"rank": None, "world_size": None}


def packed(marks: Marks) -> str:
    """Marks as text, of 6 to a character."""
    return base64.b64encode(np.packbits(marks).tobytes()).decode()


def unpacked(text: object, count: int) -> Marks:
    """(count,), or (0,) for no text. Raises StateError for what ``packed`` did not give of so many."""
    if text == "":
        return _NONE
    if not isinstance(text, str):
        raise StateError(f"a state is damaged: its marks cannot be read ({type(text).__name__})")
    try:
        octets = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError) as error:
        raise StateError(f"a state is damaged: its marks cannot be read ({error})") from error
    if len(octets) != -(-count // 8):
        raise StateError(f"a state is damaged: it has marks for other than its {count} samples")
    return np.unpackbits(octets, count=count).astype(np.bool_)


def _identity(work: Work) -> dict[str, Any]:
    """What makes a sample's id mean the same. A copy that was packed for a loader goes by its original."""
    source = getattr(work.source, "origin", None) or work.source
    ids = work.source.ids(work.split).astype("<i8").tobytes()
    split = f"{work.split} {hashlib.sha256(ids).hexdigest()[:16]}"
    return {"data": source.fingerprint, "split": split, "seed": work.seed}


def _delivered(state: Mapping[str, Any], samples: object) -> Delivered:
    epoch = state.get("epoch")
    if not (_is_count(epoch) and _is_count(samples) and state.get("samples") == samples):
        raise StateError("a state is damaged: it does not tell its epoch, or how many samples there are")
    by_all, by_rank = (unpacked(state.get(name), samples) for name in ("by_all", "by_rank"))
    of_all, of_rank = (_bad_count(state, *one) for one in (("bad_of_all", by_all), ("bad_of_rank", by_rank)))
    return Delivered(epoch, by_all, by_rank, of_all, of_rank)


def _bad_count(state: Mapping[str, Any], name: str, marks: Marks) -> int:
    """How many samples of ``marks`` were bad; none where nobody has counted them."""
    bad = state.get(name, 0)
    if not (_is_count(bad) and bad <= np.count_nonzero(marks)):
        raise StateError(f"a state is damaged: {name} is {bad!r}, of {np.count_nonzero(marks)} samples")
    return bad


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _unmarked(ids: NDArray[np.int64], marks: Marks) -> NDArray[np.int64]:
    return ids[~marks[ids]] if len(marks) else ids
