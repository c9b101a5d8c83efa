"""The store of keys and values through which ranks find each other: torchrun's own, or rank 0's."""

from __future__ import annotations

from datetime import timedelta

import torch.distributed as dist

from throughput.ranks.errors import RankLostError
from throughput.ranks.place import Place

_JOINING = timedelta(minutes=10)
"""A rank may have to import, and others of it to be started, on a slow file system."""


def connect(place: Place, *, opens: bool = False) -> dist.Store:
    """A connection of one's own to the store. opens: rank 0 also listens, where torchrun does not.

    Raises RankLostError where nobody listens.
    """
    try:
        store = dist.TCPStore(
            place.host,
            place.port,
            world_size=None,
            is_master=opens and place.keeps_store,
            timeout=_JOINING,
            wait_for_workers=False,
        )
    except RuntimeError as error:
        raise RankLostError(
            f"nobody answers at {place.host}:{place.port} (MASTER_ADDR and MASTER_PORT), where ranks find "
            f"each other: {' '.join(str(error).split())}"
        ) from error
    return dist.PrefixStore(f"throughput/{place.attempt}", store)
