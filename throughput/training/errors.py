"""What can go wrong in training that the user can put right."""

from __future__ import annotations

from throughput.errors import ThroughputError


class CheckpointError(ThroughputError):
    """A file of weights cannot be read, or holds those of another model or another number of classes."""


class DivergedError(ThroughputError):
    """The loss, or a weight, is no finite number any more."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: training stops. Lower --lr, raise --warmup, or limit the gradients with --clip 1"
        )
