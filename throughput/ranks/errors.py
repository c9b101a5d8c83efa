"""What goes wrong among several processes."""

from __future__ import annotations

from throughput.errors import ThroughputError


class RankLostError(ThroughputError):
    """Another rank has ended too early; the message names it."""

    exit_code = 3


class BrokenTieError(ThroughputError):
    """The connection to another rank broke: it has gone, and its own words tell more."""

    exit_code = 3
