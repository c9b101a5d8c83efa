"""A fault in a source: what lies on disk, what is done to it later, and what a loader may make of it."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from throughput.drill.copies import Copies, linked, looks_of, pack_folder, replace_file
from throughput.drill.processes import PROCESS_FAULTS, ProcessFault
from throughput.drill.samples import SAMPLE_FAULTS, SampleFault, pixels_of
from throughput.drill.shards import FILE_FAULTS, SHARD_FAULTS, FileFault, ShardFault

Lies = Literal["files", "packed", "shards", "open shards"]
"""Where a fault is: in class folders; in those that were then packed; in shards, put there after packing; in
shards, put there once the source is open."""
LIES: tuple[Lies, ...] = get_args(Lies)

Fault = SampleFault | FileFault | ShardFault | ProcessFault
FAULTS: dict[str, Fault] = {
    one.name: one for one in (*SAMPLE_FAULTS, *FILE_FAULTS, *SHARD_FAULTS, *PROCESS_FAULTS)
}


@dataclass(frozen=True)
class Swap:
    """Takes a file away; ``by``: and puts this in its place, a file or a folder."""

    path: Path
    by: Path | None

    def carry_out(self) -> None:
        """Do it."""
        self.path.unlink()
        if self.by is not None:
            self.by.rename(self.path)


@dataclass(frozen=True, eq=False)
class Planted:
    """A source of N samples with a fault in it.

    data: what to open. later: swaps once it is open. act: what is done to the process.
    wanted: (N, S, S, 3) uint8, what each sample is to look like. labels: (N,) int64.
    names: of each, words that tell it from all others.
    hit: ids that the fault touches. damaged: those of them that cannot come as they are wanted.
    untold: those of the damaged ones of which nobody can know.
    words: an error that tells of the fault as a whole holds one of them, in whatever case.
    """

    data: Path
    wanted: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[tuple[str, ...], ...]
    later: tuple[Swap, ...] = ()
    act: ProcessFault | None = None
    hit: frozenset[int] = field(default_factory=frozenset)
    damaged: frozenset[int] = field(default_factory=frozenset)
    untold: frozenset[int] = field(default_factory=frozenset)
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A fault and where it lies; no fault: the sound copy, which every loader is to deliver whole.

    depends: whether what is to come of it depends on the policy for bad samples.
    """

    fault: Fault | None
    lies: Lies
    depends: bool = True

    @property
    def name(self) -> str:
        """The fault's."""
        return "none" if self.fault is None else self.fault.name


def cases_of(faults: Sequence[Fault]) -> tuple[Case, ...]:
    """Sound copies first, then every fault wherever it can lie."""
    cases = [Case(None, "files", depends=False), Case(None, "packed", depends=False)]
    for fault in faults:
        match fault:
            case SampleFault():
                lies: tuple[Lies, ...] = (
                    ("files", "packed", "shards") if fault.in_place else ("files", "packed")
                )
                cases += [Case(fault, one, depends=not fault.readable) for one in lies]
            case FileFault():
                cases.append(Case(fault, "files", depends=fault.when == "once open"))
            case ShardFault():
                # At rest a shard is refused when the source is opened, before any loader.
                cases += [Case(fault, "shards", depends=False), Case(fault, "open shards")]
            case ProcessFault():
                lies_in: Lies = "files" if fault.moment == "prepare" else "packed"
                cases.append(Case(fault, lies_in, depends=False))
    return tuple(cases)


def plant(case: Case, copies: Copies, room: Path, share: float, seed: int) -> Planted | None:
    """Put the fault of a case into a copy of the copies, in the new folder ``room``.

    share: of the samples, at least one. None where no sample can have the fault there.
    """
    folder = copies.files if case.lies == "files" else copies.packed
    words = [(name, f"{sample_id:09d}") for sample_id, name in enumerate(copies.names)]
    rng = np.random.default_rng([seed, zlib.crc32(case.name.encode())])
    count = max(1, round(share * len(words)))
    order = rng.permutation(len(words)).tolist()
    sound = Planted(room / "data", copies.wanted, copies.labels, tuple(words))
    match case.fault:
        case SampleFault() as fault if case.lies == "shards":
            linked(folder, sound.data)
            return _in_shards(fault, copies, sound, order, count, rng)
        case SampleFault() as fault:
            return _in_files(fault, copies, sound, order[:count], rng, packed=case.lies == "packed")
        case FileFault() as fault:
            linked(folder, sound.data)
            return _in_place_of_files(fault, copies, sound, order[:count])
        case ShardFault() as fault:
            linked(folder, sound.data)
            return _to_a_shard(fault, copies, sound, rng, at_rest=case.lies == "shards")
        case ProcessFault() as fault:
            linked(folder, sound.data)
            return replace(sound, act=fault, words=fault.words)
        case None:
            linked(folder, sound.data)
            return sound


def _in_files(
    fault: SampleFault,
    copies: Copies,
    sound: Planted,
    ids: Sequence[int],
    rng: np.random.Generator,
    *,
    packed: bool,
) -> Planted:
    files = sound.data.with_name("to-pack") if packed else sound.data
    linked(copies.files, files)
    wanted, untold = sound.wanted.copy(), set()
    for sample_id in ids:
        path = files / copies.names[sample_id]
        data = fault.damage(path.read_bytes(), rng)
        replace_file(path, data)
        if fault.readable:
            wanted[sample_id] = looks_of(data, wanted.shape[1])
        elif not fault.telling and pixels_of(data) is not None:
            untold.add(sample_id)
    if packed:
        pack_folder(files, sound.data)
        shutil.rmtree(files)
    hit = frozenset(ids)
    damaged = frozenset() if fault.readable else hit
    return replace(sound, wanted=wanted, hit=hit, damaged=damaged, untold=frozenset(untold))


def _in_shards(
    fault: SampleFault,
    copies: Copies,
    sound: Planted,
    order: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> Planted | None:
    """Bytes written over those of samples in shards: each sample's checksum tells."""
    where = {place.id: (shard, place) for shard, places in copies.shards.items() for place in places}
    hit: set[int] = set()
    for sample_id in order:
        if len(hit) == count:
            break
        shard, place = where[sample_id]
        tar = (sound.data / shard).read_bytes()
        end = place.offset + place.size_bytes
        data = fault.damage(tar[place.offset : end], rng)
        if len(data) == place.size_bytes:
            replace_file(sound.data / shard, tar[: place.offset] + data + tar[end:])
            hit.add(sample_id)
    return replace(sound, hit=frozenset(hit), damaged=frozenset(hit)) if hit else None


def _in_place_of_files(fault: FileFault, copies: Copies, sound: Planted, ids: Sequence[int]) -> Planted:
    later = []
    for sample_id in ids:
        path = sound.data / copies.names[sample_id]
        if fault.stand_in == "dangling link":
            path.unlink()
            path.symlink_to("nowhere")
            continue
        by = sound.data.with_name(f"folder-{sample_id}") if fault.stand_in == "folder" else None
        if by is not None:
            by.mkdir()
        later.append(Swap(path, by))
    return replace(sound, later=tuple(later), hit=frozenset(ids), damaged=frozenset(ids))


def _to_a_shard(
    fault: ShardFault, copies: Copies, sound: Planted, rng: np.random.Generator, *, at_rest: bool
) -> Planted:
    shard = sorted(copies.shards)[int(rng.integers(len(copies.shards)))]
    places = copies.shards[shard]
    path = sound.data / shard
    tar = path.read_bytes()
    damaged_tar = fault.damage(tar, places, rng)
    # A sample whose bytes have only moved may still come: by its pixels it is judged.
    damaged = frozenset(
        one.id
        for one in places
        if damaged_tar is None or tar[one.offset : one.offset + one.size_bytes] not in damaged_tar
    )
    by = None
    if damaged_tar is not None:
        by = sound.data.with_name("damaged.tar")
        by.write_bytes(damaged_tar)
    swap = Swap(path, by)
    if at_rest:
        swap.carry_out()
    hit = frozenset(place.id for place in places)
    return replace(
        sound, later=() if at_rest else (swap,), hit=hit, damaged=damaged, words=(Path(shard).name,)
    )
