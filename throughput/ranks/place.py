"""Which of several processes this one is, as torchrun tells it in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from throughput.errors import OptionError

_NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """rank: 0 and up among all processes. local_rank: among those of this machine's torchrun.

    host, port: where the store listens that all ranks share. agent_keeps_store: torchrun listens there; else
    rank 0 does. attempt: how often torchrun has started all ranks anew.
    """

    rank: int
    world_size: int
    local_rank: int
    host: str
    port: int
    agent_keeps_store: bool
    attempt: int = 0

    @property
    def keeps_store(self) -> bool:
        """Whether the store is to be opened by this process."""
        return self.rank == 0 and not self.agent_keeps_store


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """This process's place; None where it is by itself. Raises OptionError where only a part is told."""
    if environment.get("WORLD_SIZE", "1") == "1":
        return None
    missing = [name for name in _NAMES if name not in environment]
    if missing:
        raise OptionError(
            f"WORLD_SIZE={environment['WORLD_SIZE']} speaks of several processes, and {', '.join(missing)} "
            "is not set: start with `torchrun --nproc-per-node N -m throughput ...`, or unset WORLD_SIZE"
        )
    try:
        found = Place(
            rank=int(environment["RANK"]),
            world_size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment.get("LOCAL_RANK", environment["RANK"])),
            host=environment["MASTER_ADDR"],
            port=int(environment["MASTER_PORT"]),
            agent_keeps_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")),
        )
    except ValueError as error:
        raise OptionError(
            f"RANK, WORLD_SIZE, LOCAL_RANK and MASTER_PORT must be whole numbers: {error}"
        ) from None
    if not 0 <= found.rank < found.world_size:
        raise OptionError(f"RANK must be in 0..{found.world_size - 1}, got {found.rank}")
    return found


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process tells of what all did: it is rank 0, or by itself."""
    found = place(environment)
    return found is None or found.rank == 0


def speaker(environment: Mapping[str, str] = os.environ) -> str:
    """Who says what goes wrong."""
    rank = environment.get("RANK", "") if environment.get("WORLD_SIZE", "1") != "1" else ""
    return f"throughput: rank {rank}" if rank else "throughput"
