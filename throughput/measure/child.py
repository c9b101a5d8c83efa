"""What a fresh process does: one task, told of event by event."""

from __future__ import annotations

import os
import sys
import warnings
from multiprocessing.connection import Connection
from typing import NoReturn

import throughput.measure.block  # noqa: F401 - with torch, before the fork: what all this is for
from throughput.measure.events import Event, Opened
from throughput.measure.plan import Task


def perform(task: Task, events: Connection) -> NoReturn:
    """Carry out a task, tell of it, and end this process."""
    # More workers than cores may be just what is to be measured.
    warnings.filterwarnings("ignore", message="This DataLoader will create")

    def tell(event: Event) -> None:
        events.send(event)
        if isinstance(event, Opened):
            events.recv()  # raises EOFError where the parent is gone

    task.carry_out(tell)
    events.close()
    sys.stdout.flush()
    # Interpreter shutdown of torch, DALI and CUDA can take seconds or crash; all is measured and told.
    os._exit(0)
