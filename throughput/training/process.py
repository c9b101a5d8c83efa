"""What training sets in the whole process, and what torch says in it that the user can put right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from throughput.child_process import children_heard_again
from throughput.dead_workers import is_a_death, why_died
from throughput.errors import LoaderError, OptionError
from throughput.measure.environment import usable_cores
from throughput.training.course import Training

_NO_MEMORY = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")
"""In torch's words; on a GPU it has an exception for that."""
_NOT_DETERMINISTIC = "does not have a deterministic implementation"


@contextmanager
def torch_settings(training: Training) -> Iterator[None]:
    """Set what training needs of torch; on leaving, all is as before, and torch hears of workers again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    before = torch.are_deterministic_algorithms_enabled()
    if training.deterministic:
        # cuBLAS reads it when it is first used; without it, torch refuses matrix products.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
    try:
        with children_heard_again():
            yield
    finally:
        torch.use_deterministic_algorithms(mode=before)
        torch.set_num_threads(threads)


@contextmanager
def torch_errors_in_words(training: Training) -> Iterator[None]:
    """Raise OptionError where memory runs out, or where an algorithm does not repeat itself to the bit.

    LoaderError where torch says, at whatever place, that a worker has died.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if is_a_death(error):
            raise LoaderError(f"a worker process died: {why_died(text)}") from error
        if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _NO_MEMORY):
            work = training.work
            raise OptionError(
                f"--batch {work.batch_size} at --size {work.image_size} is too much for the memory of "
                f"{work.device}: lower --batch; with --accumulate N, N batches make one step"
            ) from error
        if _NOT_DETERMINISTIC in text:
            algorithm = text.partition(_NOT_DETERMINISTIC)[0].strip()
            raise OptionError(
                f"--deterministic: {algorithm} {_NOT_DETERMINISTIC} on {training.work.device}: "
                "leave it out, or choose another --model"
            ) from error
        raise
