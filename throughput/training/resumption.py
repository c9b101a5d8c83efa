"""What a run that was stopped goes on from: its checkpoint, and how far it was in an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from throughput.contracts import Resumable
from throughput.errors import OptionError, StateError
from throughput.measure.ledger import Ledger
from throughput.training.checkpoint import Checkpoint, Subject, read, require_same
from throughput.training.course import Training, require_course
from throughput.training.errors import CheckpointError


@dataclass(frozen=True)
class Part:
    """An epoch up to a boundary between two of its batches: nothing but the first, so far.

    batches: trained on. images, seconds, wait_seconds: as in Pass. losses, sizes: of each batch, its loss and
    its images. ledger, loader: their states; random: of torch's generators. All plain values but these.
    """

    epoch: int
    batches: int = 0
    images: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    ledger: dict[str, Any] | None = None
    loader: dict[str, Any] | None = None
    random: dict[str, Tensor] = field(default_factory=dict)


def told_of(parts: Sequence[Part]) -> dict[str, Any] | list[dict[str, Any]]:
    """What each rank has done, in their order, for ``part_of``."""
    told = [dict(vars(part)) for part in parts]
    return told if len(told) > 1 else told[0]


def part_of(path: Path, run: Mapping[str, Any], epoch: int, rank: int = 0) -> Part | None:
    """How far a rank was in ``epoch``; None: not begun.

    Raises CheckpointError where ``run`` tells it otherwise.
    """
    if (told := run.get("part")) is None:
        return None
    try:
        told = told[rank] if isinstance(told, list) else told
        part = Part(**told)
        whole = (
            part.epoch == epoch
            and 0 < part.batches == len(part.losses) == len(part.sizes)
            and all(isinstance(one, dict) for one in (part.ledger, part.loader))
            and part.random.keys() <= {"host", "device"}
            and all(state.dtype == torch.uint8 for state in part.random.values())
        )
    except (TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged: it does not tell how far it was ({error})") from error
    if not whole:
        raise CheckpointError(f"{path} is damaged: it does not tell how far it was in epoch {epoch + 1}")
    return part


def load_part(
    path: Path, part: Part, loader: Resumable | None, ledger: Ledger, note: Callable[[str], None]
) -> None:
    """Let the loader bring the rest, and tell where it goes on. ledger: one to try the part's on.

    Raises CheckpointError.
    """
    if loader is None or part.loader is None:
        raise CheckpointError(
            f"{path} was kept in the middle of an epoch, and its loader cannot go on there any more: start "
            "anew with another --checkpoint and without --resume"
        )
    try:
        loader.load_state_dict(part.loader)
        ledger.begin(part.epoch, part.ledger)
    except (StateError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be gone on from: {error}") from error
    note(f"training goes on behind batch {part.batches:,} of epoch {part.epoch + 1}")


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Of torch's generators of the host and of the device."""
    host = {"host": torch.get_rng_state()}
    return host | {"device": torch.cuda.get_rng_state(device)} if device.type == "cuda" else host


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Let torch draw as it would have gone on to. Raises CheckpointError for no states of this device's."""
    try:
        torch.set_rng_state(states["host"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(states["device"], device)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"a checkpoint is damaged: no state of torch's generators ({error})") from error


def checkpoint_to_go_on_from(
    path: Path | None,
    training: Training,
    subject: Subject,
    course: Mapping[str, Any],
    note: Callable[[str], None],
) -> Checkpoint | None:
    """What is to be gone on from; None: nothing. Raises OptionError where it would be overwritten."""
    if path is None:
        return None
    if not path.exists():
        if training.resume:
            note(f"there is no {path} to go on from yet: training begins")
        return None
    if not training.resume:
        raise OptionError(f"--checkpoint {path} exists: go on from it with --resume, or choose another name")
    found = read(path, (training.model,))
    require_same(path, found.subject, subject)
    require_course(path, found.run.get("course"), course)
    workers = found.run["course"].get("workers")
    if workers != course["workers"]:
        note(
            f"{path} was trained with {workers} workers, and goes on with {course['workers']}: each image "
            "still comes once, though a loader that streams shards may bring them in another order"
        )
    return found
