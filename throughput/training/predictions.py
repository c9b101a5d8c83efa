"""What a model answers for every image of a split, in the order of their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import Module

from throughput.contracts import Batch, ComputeDtype
from throughput.errors import LoaderError


@dataclass(frozen=True)
class Predictions:
    """ids: (N,) int64, ascending, each once. labels: (N,) int64 or float targets. On the host, all.

    outputs: (N, C) float32, as the model gives them, or probabilities.
    """

    ids: Tensor
    labels: Tensor
    outputs: Tensor

    def probabilities(self) -> Predictions:
        """The same with the outputs as probabilities, by softmax."""
        return replace(self, outputs=self.outputs.softmax(dim=1))


def answering(model: Module, device: torch.device, dtype: ComputeDtype) -> Callable[[Tensor], Tensor]:
    """The outputs (N, C) of a model in evaluation mode for ready images, computed in ``dtype``."""
    ready = model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload] # torch's stub lacks it
    compute: torch.dtype = getattr(torch, dtype)

    @torch.inference_mode()
    def answer(images: Tensor) -> Tensor:
        with torch.autocast(device.type, compute, enabled=compute != torch.float32):
            outputs: Tensor = ready(images)
        return outputs

    return answer


def predict(answer: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> Predictions:
    """``answer`` for all ready batches; filler and what came again left out. Raises LoaderError for none."""
    ids, labels, outputs = [], [], []
    for batch in batches:
        # On a GPU nothing is waited for until the end; a batch's memory may be used again, so all is copied.
        ids.append(batch.ids.clone())
        labels.append(batch.labels.clone())
        outputs.append(answer(batch.images).float())
    if not ids:
        raise LoaderError("the loader yielded no image of this split")
    every_id = torch.cat(ids)
    all_labels, all_outputs = torch.cat(labels).cpu(), torch.cat(outputs).cpu()
    order = every_id.argsort(stable=True)
    found = every_id[order]
    first = torch.ones(len(found), dtype=torch.bool)
    first[1:] = found[1:] != found[:-1]
    kept = order[first & (found >= 0)]
    return Predictions(every_id[kept], all_labels[kept], all_outputs[kept])


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """The mean of the members' probabilities (of their outputs, for float targets), image by image.

    Raises LoaderError where they are not of the same images.
    """
    first = members[0]
    if any(not torch.equal(first.ids, member.ids) for member in members):
        raise LoaderError("the models were shown different images: their answers cannot be averaged")
    return replace(first, outputs=torch.stack([member.outputs for member in members]).mean(dim=0))
