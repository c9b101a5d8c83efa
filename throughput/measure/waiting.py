"""How long the model's device had nothing to do but wait for the next batch.

On a CPU that is the time spent pulling. On a GPU the host runs ahead of the device, so pulling says
little: there the idle span between two steps is read off CUDA events on the device itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch


class Waiting(Protocol):
    """Collects the waits of one pass."""

    def pulled(self, wait_seconds: float) -> None:
        """A batch was pulled and its step is about to be queued."""

    def stepped(self) -> None:
        """The step has been queued."""

    def finish(self) -> tuple[float, ...]:
        """Wait until the device is done; the seconds waited before each step."""


class HostWaiting:
    """The model runs on the CPU: waiting is the time spent pulling."""

    def __init__(self) -> None:
        self._waits: list[float] = []

    def pulled(self, wait_seconds: float) -> None:
        self._waits.append(wait_seconds)

    def stepped(self) -> None:
        """A CPU step has run when it returns."""

    def finish(self) -> tuple[float, ...]:
        waits, self._waits = tuple(self._waits), []
        return waits


class DeviceEvent(Protocol):
    """A moment in a device's queue of work, as ``torch.cuda.Event``."""

    def synchronize(self) -> None:
        """Wait until the device has come to it."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this event to another."""


class CudaWaiting:
    """Idle spans of the device between the end of a step and the start of the next.

    The start event is recorded behind the wait for the batch, so it happens once the batch is ready.
    The host is kept at most two steps ahead, which is enough to hide it and bounds the memory in flight.
    """

    _AHEAD = 2

    def __init__(self, device: torch.device, record: Callable[[], DeviceEvent] | None = None) -> None:
        self._device = device
        self._record = record or self._record_event
        self._starts: list[DeviceEvent] = []
        # The first wait of a pass begins where the one before it ended.
        self._ends: list[DeviceEvent] = [self._record()]

    def pulled(self, wait_seconds: float) -> None:  # noqa: ARG002 - the host's wait says nothing here
        if len(self._ends) > self._AHEAD:
            self._ends[-self._AHEAD].synchronize()
        self._starts.append(self._record())

    def stepped(self) -> None:
        self._ends.append(self._record())

    def finish(self) -> tuple[float, ...]:
        self._ends[-1].synchronize()
        waits = tuple(
            max(0.0, end.elapsed_time(start) / 1e3)
            for end, start in zip(self._ends, self._starts, strict=False)
        )
        self._starts, self._ends = [], [self._record()]
        return waits

    def _record_event(self) -> DeviceEvent:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call] # torch types it not
        event.record(torch.cuda.current_stream(self._device))
        marked: DeviceEvent = event
        return marked


def waiting_on(device: torch.device) -> Waiting:
    """The way to see waiting on this device."""
    return CudaWaiting(device) if device.type == "cuda" else HostWaiting()
