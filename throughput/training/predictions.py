"""What a model answers for every image of a split, in the order of their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from throughput.contracts import Batch, ComputeDtype, Fault
from throughput.errors import LoaderError

_HELD_BATCHES = 16
"""Whose answers stay on the device before they are copied to the host, for which a GPU is waited for."""


@dataclass(frozen=True)
class Predictions:
    """ids: (N,) int64, ascending, each once. labels: (N,) int64 or float targets. On the host, all.

    outputs: (N, C) float32, as the model gives them, or probabilities, float64.
    """

    ids: Tensor
    labels: Tensor
    outputs: Tensor

    def probabilities(self) -> Predictions:
        """The same with the outputs as probabilities, by softmax.

        In double: in float32 a class that is 104 below another has no probability left, and an infinite loss.
        """
        return replace(self, outputs=self.outputs.double().softmax(dim=1))


def answering(
    model: Module, device: torch.device, dtype: ComputeDtype, *, compiled: bool = False
) -> Callable[[Tensor], Tensor]:
    """The outputs (N, C) of a model in evaluation mode for ready images, computed in ``dtype``.

    compiled: by torch.compile, which takes its time for the first images.
    """
    ready = model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload] # torch's stub lacks it
    forward: Callable[[Tensor], Tensor] = torch.compile(ready) if compiled else ready
    compute: torch.dtype = getattr(torch, dtype)

    @torch.inference_mode()
    def answer(images: Tensor) -> Tensor:
        with torch.autocast(device.type, compute, enabled=compute != torch.float32):
            return forward(images)

    return answer


def predict(
    answer: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    wanted: NDArray[np.int64] | None = None,
    take_faults: Callable[[], list[Fault]] = list,
) -> Predictions:
    """``answer`` for all ready batches; filler and what came again left out.

    wanted: (N,) ids that are to come, ascending; None: whatever comes. take_faults: the loader's, whose bad
    samples need not come. Raises LoaderError where none comes, and for the first that does not, or that is
    not wanted.
    """
    found = answered(answer, batches)
    if found is None:
        raise LoaderError("the loader yielded no image of this split")
    return found if wanted is None else require_whole(found, wanted, [fault.id for fault in take_faults()])


def require_whole(found: Predictions, wanted: NDArray[np.int64], bad: Sequence[int] = ()) -> Predictions:
    """The same. wanted: (N,) ids, ascending. bad: those that need not be there.

    Raises LoaderError for the first of them that is not there, and for the first other that is.
    """
    came = found.ids.numpy()
    if bad:
        wanted = np.setdiff1d(wanted, bad)
    if len(missing := np.setdiff1d(wanted, came)):
        raise LoaderError(
            f"{len(missing):,} of {len(wanted):,} images of this split did not come from the loader, the "
            f"first of them id {missing[0]}: what is left says nothing about the whole"
        )
    if len(strange := np.setdiff1d(came, wanted)):
        raise LoaderError(f"the loader yielded id {strange[0]}, which is not of this split")
    return found


def answered(answer: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> Predictions | None:
    """``answer`` for all ready batches, as in ``predict``; None where none comes."""
    ids, labels, outputs = [], [], []
    answers = _answers(answer, batches)
    while some := list(islice(answers, _HELD_BATCHES)):
        of_ids, of_labels, of_outputs = (torch.cat(values).cpu() for values in zip(*some, strict=True))
        ids.append(of_ids)
        labels.append(of_labels)
        outputs.append(of_outputs)
    if not ids:
        return None
    every_id, all_labels, all_outputs = torch.cat(ids), torch.cat(labels), torch.cat(outputs)
    outputs.clear()  # what is picked below is a copy too: two at a time are enough
    order = every_id.argsort(stable=True)
    found = every_id[order]
    first = torch.ones(len(found), dtype=torch.bool)
    first[1:] = found[1:] != found[:-1]
    kept = order[first & (found >= 0)]
    return Predictions(every_id[kept], all_labels[kept], all_outputs[kept])


def _answers(
    answer: Callable[[Tensor], Tensor], batches: Iterable[Batch]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Ids, labels and outputs of each batch, as copies: a batch's memory may be used again."""
    for batch in batches:
        yield batch.ids.clone(), batch.labels.clone(), answer(batch.images).float()


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """The mean of the members' probabilities (of their outputs, for float targets), image by image.

    Raises LoaderError where they are not of the same images.
    """
    first = members[0]
    if any(not torch.equal(first.ids, member.ids) for member in members):
        raise LoaderError("the models were shown different images: their answers cannot be averaged")
    if any(first.outputs.shape != member.outputs.shape for member in members):
        raise LoaderError("the models give different numbers for an image: they cannot be averaged")
    return replace(first, outputs=torch.stack([member.outputs.double() for member in members]).mean(dim=0))
