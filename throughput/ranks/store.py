"""The store of keys and values through which ranks find each other: torchrun's own, or rank 0's."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch.distributed as dist

from throughput.ranks.errors import RankLostError
from throughput.ranks.place import Place

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

_JOINING = timedelta(minutes=10)
"""A rank may have to import, and others of it to be started, on a slow file system."""


def connect(place: Place, group: str, *, opens: bool = False) -> Store:
    """A connection of its own to a group's part of the store. opens: rank 0 listens, unless torchrun does.

    Raises RankLostError where nobody listens.
    """
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined] # torch.distributed hands it on from its C++ part
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
    name = f"throughput/{place.attempt}/{group}"
    return dist.PrefixStore(name, store)  # type: ignore[attr-defined] # as above
