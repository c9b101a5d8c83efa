"""From addresses to a source of remote shards."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO, TypeVar, cast

from throughput.cache import cache_folder
from throughput.contracts import Progress, no_progress
from throughput.errors import OptionError, SourceError
from throughput.quantities import parse_bytes
from throughput.sources.index import ShardIndex, shard_index
from throughput.sources.manifest import MANIFEST, Manifest
from throughput.sources.remote.addresses import (
    folder_of,
    is_remote,
    path_of,
    require_address,
    shown,
    within,
    without_secrets,
)
from throughput.sources.remote.beside import index_beside, remote_index, remote_manifest
from throughput.sources.remote.blocks import BlockCache
from throughput.sources.remote.fetching import Fetcher, Reach, fetcher_of
from throughput.sources.remote.readers import header_reader, whole_reader
from throughput.sources.remote.retrying import Retries
from throughput.sources.remote.source import RemoteShardSource
from throughput.sources.remote.stores import RemoteFile
from throughput.sources.scan import ShardScan, scan_open_shard
from throughput.sources.shard_opening import indexed_shards, packed_shards
from throughput.threads import in_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

DEFAULT_CACHE = "20GB"
_VERSION = 1
_ASKING = 16
"""Small requests at a time: they wait for the server most of the time."""


def default_reach(retries: Retries | None = None) -> Reach:
    """The cache in the cache folder, as large as THROUGHPUT_REMOTE_CACHE says. Raises OptionError."""
    size = parse_bytes("--remote-cache", os.environ.get("THROUGHPUT_REMOTE_CACHE") or DEFAULT_CACHE)
    return Reach(BlockCache(str(cache_folder("remote")), size), retries=retries or Retries())


def open_remote(
    location: str,
    addresses: Sequence[str],
    *,
    label_field: str | None = None,
    split_fraction: float | None = None,
    progress: Progress = no_progress,
    reach: Reach | None = None,
) -> RemoteShardSource:
    """Open shards on a server: those of a folder that ``pack`` wrote, or shards that are named one by one.

    Where samples lie is read from the index beside the manifest. Without one, shards are scanned: fetched
    whole where the cache has room for all, as they will be needed anyway, else by their headers alone.
    Raises SourceError.
    """
    fetcher = fetcher_of(reach := reach or default_reach())
    fetcher.meet()
    for address in addresses:
        require_address(address)
    if len(addresses) == 1 and not path_of(addresses[0]).endswith(".tar"):
        folder = addresses[0]
        manifest = remote_manifest(fetcher, folder)
        if manifest is not None:
            return _open_packed(without_secrets(location), folder, manifest, split_fraction, reach, progress)
        addresses = _listed(fetcher, folder)
    for address in addresses:
        if not is_remote(address) or not path_of(address).endswith(".tar"):
            raise SourceError(
                f"{shown(address)} is no .tar shard on a server: name remote shards, or local ones"
            )
    return _open_named(without_secrets(location), addresses, label_field, split_fraction, reach, progress)


@dataclass(frozen=True)
class _Way:
    """How shards are scanned, and why so."""

    scan: Callable[[RemoteFile], ShardScan]
    words: str


def _open_packed(
    location: str,
    folder: str,
    manifest: Manifest,
    fraction: float | None,
    reach: Reach,
    progress: Progress,
) -> RemoteShardSource:
    if manifest.splits == "named" and fraction is not None:
        raise OptionError(f"{location} brings its own split, train and held-out: leave --split-fraction out")
    fetcher = fetcher_of(reach)
    files = _look_up(fetcher, [within(folder, shard.name) for shard in manifest.shards], progress)
    for file, shard in zip(files, manifest.shards, strict=True):
        if file.size_bytes != shard.bytes:
            raise SourceError(
                f"the shard {shown(file.address)} was altered: it has {file.size_bytes} bytes and its "
                f"manifest says {shard.bytes}; upload it again, or pack the images again"
            )
    fingerprint = _fingerprint(files, None)
    index = remote_index(fetcher, folder, manifest, fingerprint)
    if index is None:
        way = _way(fetcher, files, None)
        index = _scanned(files, fingerprint, way, None, progress)
        words = f"no index lies beside the manifest, so {way.words}"
    else:
        words = "the index beside the manifest tells where they lie"
    # At once and before any worker starts: each sample is compared with the checksum in it.
    counts = [shard.samples for shard in manifest.shards]
    _each(
        lambda item: index_beside(fetcher, *item),
        list(zip(files, counts, strict=True)),
        "reading indexes",
        progress,
    )
    shards = tuple(shown(file.address) for file in files)
    source = packed_shards(location, shown(folder), shards, fingerprint, index, manifest, fraction)
    return RemoteShardSource.of(source, files, reach, words)


def _open_named(
    location: str,
    addresses: Sequence[str],
    label_field: str | None,
    fraction: float | None,
    reach: Reach,
    progress: Progress,
) -> RemoteShardSource:
    fetcher = fetcher_of(reach)
    files = _look_up(fetcher, addresses, progress)
    fingerprint = _fingerprint(files, label_field)
    way = _way(fetcher, files, label_field)
    index = _scanned(files, fingerprint, way, label_field, progress)
    manifest = _manifest_above(fetcher, files[0].address)
    shards = tuple(shown(file.address) for file in files)
    source = indexed_shards(location, shards, fingerprint, index, manifest, fraction)
    return RemoteShardSource.of(source, files, reach, way.words)


def _look_up(fetcher: Fetcher, addresses: Sequence[str], progress: Progress) -> tuple[RemoteFile, ...]:
    def one(address: str) -> RemoteFile:
        return fetcher.asked(lambda store: store.look_up(address), address)

    return tuple(_each(one, addresses, "looking up shards", progress))


def _each(
    work: Callable[[Item], Result], items: Sequence[Item], text: str, progress: Progress
) -> list[Result]:
    """``work`` of each item, several at a time."""
    results: list[Result] = []
    with closing(in_threads(work, items, min(_ASKING, max(1, len(items))))) as done:
        for result in done:
            results.append(result)
            progress(text, len(results), len(items))
    return results


def _way(fetcher: Fetcher, files: Sequence[RemoteFile], label_field: str | None) -> _Way:
    """Fetching shards whole costs no request more than the first epoch will; headers cost one a sample."""
    size_bytes = sum(file.size_bytes for file in files)
    room_bytes = fetcher.cache.limit_bytes
    if size_bytes <= room_bytes // 2 or not all(file.ranged for file in files):
        why = (
            f"the cache has room for their {size_bytes / 1e9:.2f} GB"
            if all(file.ranged for file in files)
            else "the server sends no parts of files"
        )
        return _Way(
            partial(_scan, whole_reader, fetcher, label_field),
            f"shards were fetched whole and scanned: {why}",
        )
    return _Way(
        partial(_scan, header_reader, fetcher, label_field),
        f"only headers were read, one request for each sample: {size_bytes / 1e9:.2f} GB are more than "
        f"half of --remote-cache",
    )


def _scan(
    reader: Callable[[Fetcher, RemoteFile], io.BufferedReader],
    fetcher: Fetcher,
    label_field: str | None,
    file: RemoteFile,
) -> ShardScan:
    with reader(fetcher, file) as opened:
        return scan_open_shard(cast(BinaryIO, opened), shown(file.address), label_field)


def _scanned(
    files: Sequence[RemoteFile], fingerprint: str, way: _Way, label_field: str | None, progress: Progress
) -> ShardIndex:
    """From the cache folder, or by a scan."""
    by_address = {file.address: file for file in files}
    shards = [file.address for file in files]
    return shard_index(
        shards,
        label_field,
        fingerprint,
        progress,
        scan=lambda address: way.scan(by_address[address]),
        shard_bytes=[file.size_bytes for file in files],
    )


def _fingerprint(files: Sequence[RemoteFile], label_field: str | None) -> str:
    facts = [_VERSION, label_field, *((file.address, file.size_bytes, file.version) for file in files)]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def _manifest_above(fetcher: Fetcher, shard: str) -> Manifest | None:
    """The manifest of the packing that a shard belongs to, if it belongs to one."""
    path = PurePosixPath(path_of(shard))
    known = {path.name: folder_of(shard)}
    if path.parent.name in ("train", "val"):
        known[f"{path.parent.name}/{path.name}"] = folder_of(folder_of(shard))
    for name, folder in known.items():
        manifest = remote_manifest(fetcher, folder)
        if manifest is not None and any(one.name == name for one in manifest.shards):
            return manifest
    return None


def _listed(fetcher: Fetcher, folder: str) -> list[str]:
    """The shards below a folder without a manifest, where the server lists them."""
    found = fetcher.asked(lambda store: store.listed(folder), folder)
    shards = sorted(one for one in found if one.endswith(".tar"))
    if not shards:
        raise SourceError(
            f"{shown(folder)} has no {MANIFEST}, and its server lists no .tar shards: name the shards, as in "
            f"{shown(folder).rstrip('/')}/shard-{{000000..000009}}.tar"
        )
    return shards
