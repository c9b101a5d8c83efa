"""What a fresh process does: one task, told of event by event."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from typing import NoReturn

from throughput.measure.block import measure_block
from throughput.measure.events import Tell
from throughput.measure.plan import Block, Task


def perform(task: Task, events: Connection) -> NoReturn:
    """Carry out a task, tell of it, and end this process."""
    carry_out(task, events.send)
    events.close()
    sys.stdout.flush()
    # Interpreter shutdown of torch, DALI and CUDA can take seconds or crash; all is measured and told.
    os._exit(0)


def carry_out(task: Task, tell: Tell) -> None:
    """Carry out a task; the last event is Finished, whatever went wrong."""
    if isinstance(task, Block):
        measure_block(task, tell)
    else:
        from throughput.measure.certify import certify

        certify(task, tell)
