"""From tar shards to a source: where their samples lie, which classes they are of, what is held out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Progress, no_progress
from throughput.errors import SourceError
from throughput.sources.index import ShardIndex, shard_index, shard_stamps, shards_fingerprint
from throughput.sources.manifest import Manifest, is_validation, manifest_above
from throughput.sources.names import Names
from throughput.sources.scan import key_of
from throughput.sources.shards import ShardSource
from throughput.sources.splits import seeded_validation

_ID = re.compile(r"[0-9]{1,18}")


def open_shards(
    location: str,
    shards: Sequence[str],
    validation_from: int | None = None,
    label_field: str | None = None,
    progress: Progress = no_progress,
    split_fraction: float | None = None,
) -> ShardSource:
    """Index shards; ids follow their order.

    validation_from: the first shard of the val split; None: ``split_fraction`` of each class is held out.
    Raises SourceError for a damaged shard, or a sample without image or label.
    """
    shards = [str(Path(shard).absolute()) for shard in shards]
    fingerprint, stamps = shards_fingerprint(shards, label_field), shard_stamps(shards)
    index = shard_index(shards, label_field, fingerprint, progress)
    if validation_from is None:
        validation = seeded_validation(index.labels, split_fraction)
    else:
        validation = index.shard_of >= validation_from
    classes = _classes(index, manifest_above(Path(shards[0])))
    source = _source(
        location,
        (*shards,),
        fingerprint,
        stamps=stamps,
        index=index,
        classes=classes,
        validation=validation,
    )
    return _as_packed(source)


def indexed_shards(
    location: str,
    shards: tuple[str, ...],
    fingerprint: str,
    index: ShardIndex,
    manifest: Manifest | None,
    split_fraction: float | None,
) -> ShardSource:
    """Shards of which an index is known already. manifest: of the packing that they are a part of."""
    source = _source(
        location,
        shards,
        fingerprint,
        index=index,
        classes=_classes(index, manifest),
        validation=seeded_validation(index.labels, split_fraction),
    )
    packed = manifest is not None and manifest.growth is not None
    return replace(source, growth=manifest.growth, indexed=True) if manifest and packed else source


def _as_packed(source: ShardSource) -> ShardSource:
    """With restart intervals and an index, where the manifests above say so of every folder of shards."""
    of_folders = {shard.parent: shard for shard in source.files()}
    manifests = [manifest_above(shard) for shard in of_folders.values()]
    growths = [one.growth for one in manifests if one is not None and one.growth is not None]
    return replace(source, growth=max(growths), indexed=True) if len(growths) == len(manifests) else source


def open_packed(
    location: str,
    root: Path,
    manifest: Manifest,
    progress: Progress = no_progress,
    split_fraction: float | None = None,
) -> ShardSource:
    """Shards that ``pack`` wrote: ids, labels, classes and splits are those of their source.

    split_fraction: held out of each class, where the source brought no split.
    Raises SourceError for a shard that is missing or was altered.
    """
    if not manifest.shards:
        raise SourceError(f"the manifest of {root} names no shard: pack the images again")
    shards = [str(root.absolute() / shard.name) for shard in manifest.shards]
    for path, shard in zip(shards, manifest.shards, strict=True):
        _require_whole(path, shard.bytes)
    fingerprint, stamps = shards_fingerprint(shards, None), shard_stamps(shards)
    index = shard_index(shards, None, fingerprint, progress)
    return packed_shards(
        location, str(root), (*shards,), fingerprint, index, manifest, split_fraction, stamps
    )


def packed_shards(
    location: str,
    root: str,
    shards: tuple[str, ...],
    fingerprint: str,
    index: ShardIndex,
    manifest: Manifest,
    split_fraction: float | None,
    stamps: tuple[tuple[int, int], ...] = (),
) -> ShardSource:
    """Shards with the order and the splits of their manifest. root: what to call their folder.

    Raises SourceError where the index is not of this manifest's samples.
    """
    keys = [key_of(member) for member in (index.members[i] for i in range(len(index.members)))]
    ids = np.array([int(key) if _ID.fullmatch(key) else -1 for key in keys], dtype=np.int64)
    if len(ids) != manifest.samples or not np.array_equal(np.sort(ids), np.arange(len(ids))):
        raise SourceError(
            f"the shards in {root} do not hold the samples of their manifest: pack the images again"
        )
    if index.class_names or int(index.labels.max()) >= len(manifest.classes):
        raise SourceError(f"labels in {root} are no classes of its manifest: pack the images again")
    order = np.argsort(ids)
    members = Names.of(index.members[int(place)] for place in order)
    ordered = ShardIndex(
        members, index.shard_of[order], index.offsets[order], index.sizes[order], index.labels[order], ()
    )
    if manifest.splits == "seeded":
        validation = seeded_validation(ordered.labels, split_fraction)
    else:
        held_out = np.array([is_validation(shard.name) for shard in manifest.shards])
        validation = held_out[ordered.shard_of]
    source = _source(
        location,
        shards,
        fingerprint,
        stamps=stamps,
        index=ordered,
        classes=manifest.classes,
        validation=validation,
    )
    return replace(source, growth=manifest.growth, indexed=True)


def _source(
    location: str,
    shards: tuple[str, ...],
    fingerprint: str,
    *,
    index: ShardIndex,
    classes: tuple[str, ...],
    validation: NDArray[np.bool_],
    stamps: tuple[tuple[int, int], ...] = (),
) -> ShardSource:
    return ShardSource(
        location,
        classes,
        index.labels,
        fingerprint,
        shards,
        index.members,
        index.shard_of,
        index.offsets,
        index.sizes,
        validation.astype(np.int8),
        stamps=stamps,
    )


def _classes(index: ShardIndex, manifest: Manifest | None) -> tuple[str, ...]:
    """Class names from the labels; numbers take their names from the manifest above, where one is."""
    if index.class_names:
        return index.class_names
    count = int(index.labels.max()) + 1
    if manifest is not None and len(manifest.classes) >= count:
        return manifest.classes
    return tuple(str(number) for number in range(count))


def _require_whole(path: str, size_bytes: int) -> None:
    try:
        found_bytes = Path(path).stat().st_size
    except OSError as error:
        raise SourceError(
            f"cannot read the shard {path}, which its manifest names: {error.strerror}; pack the images again"
        ) from error
    if found_bytes != size_bytes:
        raise SourceError(
            f"the shard {path} was altered: it has {found_bytes} bytes and its manifest says {size_bytes}; "
            f"pack the images again"
        )
