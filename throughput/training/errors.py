"""What can go wrong in training that the user can put right."""

from __future__ import annotations

from throughput.errors import ThroughputError


class CheckpointError(ThroughputError):
    """A file of weights cannot be read, or holds those of another model or another number of classes."""


class DivergedError(ThroughputError):
    """The loss is no finite number any more."""
