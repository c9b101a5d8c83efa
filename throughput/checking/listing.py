"""From what a user names to what there is to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from throughput.checking.folders import folder_faults
from throughput.checking.pieces import FolderListing, Listing, SourceListing
from throughput.checking.shard_listing import list_shards
from throughput.contracts import Progress, no_progress
from throughput.errors import OptionError
from throughput.sources import open_source
from throughput.sources.folder import open_folder
from throughput.sources.opening import named_folder, named_shards


def list_pieces(
    data: str | Path | Sequence[str | Path],
    *,
    label_field: str | None = None,
    allow_pipe: bool = False,
    labels: str | Path | None = None,
    progress: Progress = no_progress,
) -> Listing:
    """What ``data`` names, as for ``open_source``, whatever state its shards are in.

    Raises SourceError where there is nothing to look at; OptionError for what does not go with the data.
    """
    shards = named_shards(data, allow_pipe=allow_pipe)
    if shards is not None:
        if labels is not None:
            raise OptionError(f"--labels {labels} goes with an array of images (.npy): shards bring theirs")
        return list_shards(data, shards, label_field, progress)
    if labels is None and (folder := named_folder(data)):
        images = open_folder(str(data), *folder, progress, keep_unreadable=True)
        return FolderListing(images, folder_faults(*folder, images))
    source = open_source(
        data, label_field=label_field, allow_pipe=allow_pipe, labels=labels, progress=progress
    )
    return SourceListing(source)
