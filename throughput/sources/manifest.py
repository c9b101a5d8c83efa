"""The manifest of packed shards: what was packed, and each shard's size and checksum."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from throughput.cache import whole_file
from throughput.errors import ManifestError, SourceError

MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"
"""A manifest of the shards that are done, while others are still to be written."""
FORMAT = "throughput-shards"
VERSION = 2
"""2: restart intervals, and an index beside each shard. 1 had neither, and is read like a 2 without."""
_READ = (1, VERSION)

_MOST_BYTES = 1 << 28
"""A million shards take less."""
_SHARD_NAME = re.compile(r"((train|val)/)?shard-[0-9]{6,}\.tar")


@dataclass(frozen=True)
class PackedShard:
    """One shard. name: its path below the manifest's folder. sha256: hex digest of the whole file.

    kinds: how many samples were what before they were given restart intervals; empty where none were.
    progressive_bytes, converted_bytes: of the progressive images, and of the baseline ones that they became.
    """

    name: str
    samples: int
    bytes: int
    sha256: str
    kinds: dict[str, int] = field(default_factory=dict)
    progressive_bytes: int = 0
    converted_bytes: int = 0


@dataclass(frozen=True)
class Manifest:
    """What was packed.

    source: name of the source's folder or file. samples: of all shards together.
    splits: ``named`` where shards lie in ``train/`` and ``val/``.
    fingerprint: the source's; where the splits are named, with a digest of them.
    samples_per_shard, shard_bytes: the settings of the packing.
    growth: the share by which a JPEG might grow for restart intervals; None where none were made.
    """

    source: str
    fingerprint: str
    samples: int
    classes: tuple[str, ...]
    splits: Literal["named", "seeded"]
    samples_per_shard: int | None
    shard_bytes: int
    growth: float | None = None
    shards: tuple[PackedShard, ...] = ()
    format: str = FORMAT
    version: int = VERSION

    def digest(self) -> str:
        """A hex digest of all bytes of all shards: labels may change where nothing else does."""
        facts = [(shard.name, shard.sha256) for shard in self.shards]
        return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()

    def difference(self, other: Manifest) -> str | None:
        """The first setting in which the packings of two manifests differ, or None."""
        # The same folder may be named in several ways: its fingerprint tells it.
        mine, others = (asdict(replace(manifest, source="", shards=())) for manifest in (self, other))
        return next((name for name in mine if mine[name] != others[name]), None)


def is_validation(shard_name: str) -> bool:
    """Whether a shard of a packing with named splits belongs to val."""
    return shard_name.startswith("val/")


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write it whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(asdict(manifest), indent=1).encode() + b"\n")


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in a file; None where there is none, or a file of somebody else's by that name.

    Raises ManifestError for a manifest of ours that is damaged, SourceError for one of a later version.
    """
    try:
        # What is no file could be waited on for ever.
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    manifest = parse_manifest(data, str(path))
    if manifest is None and not _is_json(data) and _has_packed_shards(path.parent):
        raise ManifestError(str(path), "it is no JSON, and packed shards lie beside it")
    return manifest


def parse_manifest(data: bytes, path: str) -> Manifest | None:
    """The manifest in the bytes of a file, as ``read_manifest`` reads it. path: what to call it."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        return None
    if record.get("version") not in _READ:
        raise SourceError(
            f"{path} has version {str(record.get('version'))[:20]} and this release reads {VERSION}: "
            f"update throughput or pack the images again"
        )
    try:
        return _manifest(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestError(path, repr(error)[:200]) from error


def manifest_above(shard: Path) -> Manifest | None:
    """The manifest of the packing that a shard belongs to, if it belongs to one."""
    for folder, name in (
        (shard.parent, shard.name),
        (shard.parent.parent, f"{shard.parent.name}/{shard.name}"),
    ):
        manifest = read_manifest(folder / MANIFEST)
        if manifest is not None and any(known.name == name for known in manifest.shards):
            return manifest
    return None


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _has_packed_shards(folder: Path) -> bool:
    """Whether shards named as ``pack`` names them lie where it puts them."""
    return any(
        _SHARD_NAME.fullmatch(f"{split}{shard.name}")
        for split in ("", "train/", "val/")
        for shard in (folder / split).glob("shard-*.tar")
    )


def _manifest(record: dict[str, Any]) -> Manifest:
    shards = tuple(PackedShard(**shard) for shard in record["shards"])
    if not all(_SHARD_NAME.fullmatch(shard.name) for shard in shards):
        raise ValueError("a shard's name is no shard's")
    if record["splits"] not in ("named", "seeded"):
        raise ValueError("splits")
    if not isinstance(record["classes"], list):
        raise TypeError("classes")
    changed = {"classes": tuple(record["classes"]), "shards": shards, "version": VERSION}
    manifest = Manifest(**{**record, **changed})
    _require_sound(manifest)
    return manifest


def _require_sound(manifest: Manifest) -> None:
    """Raise ValueError for what no packing can have written: it decides how much memory is asked for."""
    texts = [manifest.source, manifest.fingerprint, *manifest.classes]
    texts += [text for shard in manifest.shards for text in (shard.sha256, *shard.kinds)]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is no text")
    counts = [manifest.samples, manifest.shard_bytes, manifest.samples_per_shard or 0]
    for shard in manifest.shards:
        counts += [shard.samples, shard.bytes, shard.progressive_bytes, shard.converted_bytes]
        counts += shard.kinds.values()
    if not all(type(count) is int and 0 <= count < 1 << 62 for count in counts):
        raise ValueError("a count is no whole number of 0 or more")
    if manifest.growth is not None and not 0 <= manifest.growth <= 1:
        raise ValueError("growth")
    if len({shard.name for shard in manifest.shards}) < len(manifest.shards):
        raise ValueError("a shard comes twice")
