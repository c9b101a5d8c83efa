"""The small files that lie beside remote shards: manifest, index of the packing, index of each shard."""

from __future__ import annotations

from pathlib import Path

from throughput.cache import whole_file
from throughput.errors import SourceError
from throughput.sources.index import INDEX, ShardIndex, is_sound, read_index
from throughput.sources.manifest import MANIFEST, Manifest, parse_manifest
from throughput.sources.remote.addresses import beside, path_of, shown, within
from throughput.sources.remote.fetching import Fetcher
from throughput.sources.remote.retrying import FailedTryError, RemoteError
from throughput.sources.remote.stores import RemoteFile
from throughput.sources.shard_index import ShardIndexFile, index_names, open_shard_index


def remote_manifest(fetcher: Fetcher, folder: str) -> Manifest | None:
    """The manifest in a folder; None where there is none. Raises SourceError for a damaged one of ours."""
    address = within(folder, MANIFEST)
    data = _small_file(fetcher, address)
    return None if data is None else parse_manifest(data, shown(address))


def remote_index(fetcher: Fetcher, folder: str, manifest: Manifest, key: str) -> ShardIndex | None:
    """Where the samples of a packing lie; None where no such file lies beside the manifest.

    key: of the shards' versions, under which it is kept. Raises SourceError for one that is damaged, or of
    another packing: its labels would be believed.
    """
    address = within(folder, INDEX)
    for _ in range(2):  # the one that was kept may have been fetched while the packing was uploaded
        path = _kept(fetcher, address, f"{key}.npz")
        if path is None:
            return None
        index = read_index(path, manifest.digest())
        if index is not None and is_sound(index, [shard.bytes for shard in manifest.shards]):
            return index
        path.unlink(missing_ok=True)
    raise SourceError(
        f"{shown(address)} is damaged, or not of the packing that the manifest beside it tells of: upload it "
        "again, or run the same throughput pack command again, which makes it anew, and upload that"
    )


def index_beside(fetcher: Fetcher, shard: RemoteFile, samples: int) -> ShardIndexFile | None:
    """What was kept about the samples of a shard; None where a part of it is missing.

    Raises SourceError where it does not fit, RemoteError where it cannot be had.
    """
    name = Path(path_of(shard.address)).name
    for file in index_names(name):
        if _kept(fetcher, beside(shard.address, file), f"{shard.key}/{file}") is None:
            return None
    folder = _folder(fetcher) / shard.key
    try:
        return open_shard_index(str(folder / name), samples)
    except SourceError as error:
        forget_index(fetcher, shard)
        raise SourceError(
            f"the index beside {shown(shard.address)} does not fit it ({error}): upload it again"
        ) from error


def forget_index(fetcher: Fetcher, shard: RemoteFile) -> None:
    """Drop what was kept about the samples of a shard: it may be of the shard that was there before."""
    for file in index_names(Path(path_of(shard.address)).name):
        (_folder(fetcher) / shard.key / file).unlink(missing_ok=True)


def _kept(fetcher: Fetcher, address: str, name: str) -> Path | None:
    """The path of a small file's copy on this machine, fetched if need be; None where there is none."""
    path = _folder(fetcher) / name
    if path.is_file():
        return path
    data = _small_file(fetcher, address)
    if data is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(data)
    return path


def _folder(fetcher: Fetcher) -> Path:
    return Path(fetcher.cache.folder) / "beside"


def _small_file(fetcher: Fetcher, address: str) -> bytes | None:
    """None where the server has no such file."""
    try:
        return fetcher.asked(lambda store: store.read_all(address), address)
    except RemoteError as error:
        # A bucket that may not be listed answers 403 for what is not there.
        if isinstance(error.__cause__, FailedTryError) and error.__cause__.status in (403, 404, 410):
            return None
        raise
