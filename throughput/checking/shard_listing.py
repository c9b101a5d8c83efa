"""The samples of shards, numbered, whatever state the shards are in."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from throughput.checking.findings import Fault, Place, Remark, ShardState
from throughput.checking.pieces import Listing, Piece
from throughput.checking.shards import NO_END_MARK, Named, Survey, survey_shard
from throughput.contracts import Progress
from throughput.errors import ManifestError
from throughput.sources.manifest import Manifest, PackedShard, manifest_above
from throughput.sources.names import Names
from throughput.sources.opening import NamedShards
from throughput.sources.scan import key_of
from throughput.threads import in_threads

STRAY = "member of no sample"
MANIFEST_DAMAGED = "manifest"
_THREADS = 8


class ShardListing(Listing):
    """The samples of shards; before those of a shard comes the shard as a whole where it has a digest."""

    def __init__(
        self,
        location: str,
        named: Sequence[Named],
        surveys: Sequence[Survey],
        facts: object,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.faults = faults
        self.location = location
        self.samples = sum(len(survey.members) for survey in surveys)
        self.shards = tuple(_state(survey) for survey in surveys)
        self.remarks = _remarks(surveys)
        # A shard that is known to be damaged need not be read for its digest.
        self._digests = [
            "" if one.packed is None or survey.faults else one.packed.sha256
            for one, survey in zip(named, surveys, strict=True)
        ]
        whole = [bool(digest) for digest in self._digests]
        counts = [len(survey.members) + also for survey, also in zip(surveys, whole, strict=True)]
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._whole = whole
        self._paths = [survey.path for survey in surveys]
        self._names = [Names.of(survey.members) for survey in surveys]
        self._offsets = [np.array(survey.offsets, np.int64) for survey in surveys]
        self._sizes = [np.array(survey.sizes, np.int64) for survey in surveys]
        self._checksums = [survey.checksums for survey in surveys]
        said = json.dumps([facts, self._starts.tolist()]).encode()
        self.fingerprint = hashlib.blake2b(said, digest_size=16).hexdigest()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def piece(self, number: int) -> Piece:
        shard, place = self._find(number)
        path = self._paths[shard]
        if place < 0:
            return Piece(number, path, path, is_shard=True)
        return Piece(
            number,
            self._names[shard][place],
            path,
            int(self._offsets[shard][place]),
            int(self._sizes[shard][place]),
            self._checksums[shard] is not None,
        )

    def place(self, number: int) -> Place:
        shard, place = self._find(number)
        if place < 0:
            return Place(self._paths[shard])
        return Place(self._paths[shard], key_of(self._names[shard][place]), int(self._offsets[shard][place]))

    def is_as_packed(self, number: int, digest: int | str) -> bool:
        shard, place = self._find(number)
        if place < 0:
            return digest == self._digests[shard]
        noted = self._checksums[shard]
        if noted is None:
            return True
        if len(noted) == len(self._names[shard]):
            return digest == int(noted[place])
        # Samples are missing, and which record belongs to which of the others is not known.
        return bool(np.isin(digest, noted))

    def _find(self, number: int) -> tuple[int, int]:
        """The shard of a piece, and its place among the shard's samples, -1 for the shard itself."""
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        return shard, int(number - self._starts[shard]) - self._whole[shard]


def list_shards(
    data: object, shards: NamedShards, label_field: str | None, progress: Progress
) -> ShardListing:
    """Look at every header of some shards, in threads: the disk is waited for more than anything else."""
    paths, unlisted = ([Path(path).absolute() for path in some] for some in (shards.paths, shards.unlisted))
    one_of = {path.parent: path for path in paths}
    damage = {} if shards.damage is None else {shards.damage.path: shards.damage.cause}
    above: dict[Path, _Packing] = {}
    for folder, path in one_of.items():
        manifest = shards.manifest
        try:
            manifest = manifest or manifest_above(path)
        except ManifestError as error:
            damage[error.path] = error.cause
        above[folder] = _Packing.of(manifest)
    named = [
        *(above[path.parent].named(path) for path in paths),
        *(Named(str(path), unlisted=True) for path in unlisted),
    ]
    facts = [label_field, *(_facts(one.path) for one in named)]
    surveys: list[Survey] = []
    survey_one = partial(survey_shard, label_field=label_field)
    with closing(in_threads(survey_one, named, min(_THREADS, len(named)))) as found:
        for survey in found:
            surveys.append(survey)
            progress("looking at the shards' headers", len(surveys), len(named))
    location = str(data) if isinstance(data, (str, Path)) else f"{named[0].path} and {len(named) - 1} more"
    faults = tuple(Fault(Place(path), MANIFEST_DAMAGED, cause) for path, cause in damage.items())
    return ShardListing(location, named, surveys, facts, faults)


class _Packing(NamedTuple):
    """What a manifest says. shards: by name, none without a manifest. classes: how many."""

    shards: dict[str, PackedShard]
    classes: int

    @classmethod
    def of(cls, manifest: Manifest | None) -> _Packing:
        if manifest is None:
            return cls({}, 0)
        return cls({shard.name: shard for shard in manifest.shards}, len(manifest.classes))

    def named(self, path: Path) -> Named:
        """A shard with what is said of it."""
        packed = self.shards.get(f"{path.parent.name}/{path.name}") or self.shards.get(path.name)
        return Named(str(path), packed, None if packed is None else self.classes)


def _facts(path: str) -> tuple[str, int, int]:
    """What changes with a shard; of one that is missing, too."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each of many shards gains nothing
    except OSError:
        return path, -1, -1
    return os.path.realpath(path), status.st_size, status.st_mtime_ns


def _state(survey: Survey) -> ShardState:
    return ShardState(survey.path, survey.expected, len(survey.members), survey.strays, tuple(survey.faults))


def _remarks(surveys: Sequence[Survey]) -> tuple[Remark, ...]:
    strays = [survey.first_stray for survey in surveys if survey.first_stray is not None]
    unmarked = [Place(survey.path) for survey in surveys if not (survey.has_end_mark or survey.faults)]
    found = []
    if strays:
        found.append(Remark(STRAY, sum(survey.strays for survey in surveys), strays[0]))
    if unmarked:
        found.append(Remark(NO_END_MARK, len(unmarked), unmarked[0]))
    return tuple(found)
