"""What becomes of samples that cannot be read or decoded: noted by name and gone on from, or raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from throughput.contracts import Fault, Work
from throughput.errors import SampleError

Read = TypeVar("Read")


class BadSamples:
    """Those of one batch. faults: in the order in which they were met."""

    def __init__(self, work: Work) -> None:
        self._raises = work.on_error == "raise"
        self.faults: list[Fault] = []

    @contextmanager
    def noted(self, sample_id: int) -> Iterator[None]:
        """Note a SampleError from within as a fault of this sample, unless the work has it raised."""
        try:
            yield
        except SampleError as error:
            if self._raises:
                raise
            self.faults.append(fault_of(sample_id, error))


def fault_of(sample_id: int, error: SampleError) -> Fault:
    """The error as a value that goes with a batch."""
    return Fault(sample_id, error.sample, error.cause)


def read_sample(work: Work, sample_id: int) -> bytes | SampleError:
    """The encoded image; or why it cannot be read, unless the work has that raised."""
    try:
        return work.source.read(sample_id)
    except SampleError as error:
        if work.on_error == "raise":
            raise
        return error


def given(read: Read | SampleError) -> Read:
    """What was read. Raises the error that is there in its place."""
    if isinstance(read, SampleError):
        raise read
    return read
