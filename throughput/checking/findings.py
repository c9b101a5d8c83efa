"""What a check found, and how it is written as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_ESCAPED = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})
SCHEMA = 1
"""Of the JSON; raised when a key changes its meaning."""


@dataclass(frozen=True)
class Place:
    """Where something lies. path: a file, or a shard. key: the sample's, in a shard. offset: byte in it."""

    path: str
    key: str | None = None
    offset: int | None = None

    def line(self) -> str:
        """For scripts: the path; of what lies in a shard also key and byte, with tabs between them."""
        parts = (self.path, *(() if self.offset is None else (self.key or "", str(self.offset))))
        return "\t".join(part.translate(_ESCAPED) for part in parts)


@dataclass(frozen=True)
class Fault:
    """Something bad. fault: its kind, such as ``truncated``. cause: in a sentence."""

    place: Place
    fault: str
    cause: str


@dataclass(frozen=True)
class Remark:
    """A peculiarity that is no fault: how many samples have it, and the first of them."""

    kind: str
    times: int
    first: Place


@dataclass(frozen=True)
class ShardState:
    """A shard as it was found.

    expected: samples that its manifest or index names; None where there is neither. reached: samples that
    are there. strays: members that belong to no sample.
    """

    path: str
    expected: int | None
    reached: int
    strays: int = 0
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Findings:
    """All that was found.

    samples: that were looked at. bytes: of their encoded images. seconds: of all runs that it took.
    resumed_samples: that an interrupted check had looked at. bad: samples, in the order of the source.
    beside: what is bad beside samples and shards, such as a class folder without images.
    """

    location: str
    samples: int
    bytes: int
    seconds: float
    workers: int
    resumed_samples: int = 0
    bad: tuple[Fault, ...] = ()
    remarks: tuple[Remark, ...] = ()
    shards: tuple[ShardState, ...] = ()
    beside: tuple[Fault, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Of what lies beside them, of shards, then of samples."""
        return (*self.beside, *(fault for shard in self.shards for fault in shard.faults), *self.bad)

    def lines(self) -> tuple[str, ...]:
        """For scripts: where each fault lies, once; a whole shard where no byte of its damage is known."""
        places = [fault.place for fault in self.beside]
        for shard in self.shards:
            of_shard = [fault.place for fault in shard.faults]
            places += [place for place in of_shard if place.offset is not None] or of_shard
        places += [fault.place for fault in self.bad]
        return tuple(dict.fromkeys(place.line() for place in places))

    def kinds(self) -> Mapping[str, int]:
        """How many faults there are of each kind, the most frequent first."""
        return dict(Counter(fault.fault for fault in self.faults).most_common())


@dataclass
class Tally:
    """What was found so far, by number; it grows with every sample, and is kept between runs.

    below: all pieces below this number are done. beyond: those that are done besides.
    bad: kind and cause by number. remarks: times and the lowest number, by kind.
    """

    below: int = 0
    beyond: set[int] = field(default_factory=set)
    samples: int = 0
    bytes: int = 0
    seconds: float = 0.0
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)
    remarks: dict[str, tuple[int, int]] = field(default_factory=dict)

    def is_done(self, number: int) -> bool:
        """Whether a piece need not be looked at again."""
        return number < self.below or number in self.beyond

    @property
    def done(self) -> int:
        """How many pieces are done."""
        return self.below + len(self.beyond)

    def finish(self, number: int) -> None:
        """Count a piece as done."""
        self.beyond.add(number)
        while self.below in self.beyond:
            self.beyond.remove(self.below)
            self.below += 1

    def remark(self, kind: str, number: int) -> None:
        """Count a peculiarity of a sample."""
        times, first = self.remarks.get(kind, (0, number))
        self.remarks[kind] = (times + 1, min(first, number))


def as_json(findings: Findings) -> dict[str, Any]:
    """The findings as an object of plain values: ``schema``, the fields, and the number of faults by kind."""
    record = asdict(findings)
    for name, faults in (("bad", findings.bad), ("beside", findings.beside)):
        record[name] = [_flat(fault) for fault in faults]
    for shard, state in zip(record["shards"], findings.shards, strict=True):
        shard["faults"] = [_flat(fault) for fault in state.faults]
    return {"schema": SCHEMA, **record, "faults": findings.kinds()}


def _flat(fault: Fault) -> dict[str, Any]:
    return {**asdict(fault.place), "fault": fault.fault, "cause": fault.cause}
