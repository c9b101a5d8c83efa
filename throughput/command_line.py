"""The command that is running, for files that others will see."""

from __future__ import annotations

import shlex
import sys

from throughput.sources.remote.addresses import without_secrets


def command_line() -> str:
    """As a shell takes it, but for passwords and signatures in addresses."""
    return shlex.join(map(without_secrets, sys.argv))
