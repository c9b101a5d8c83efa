"""How far answers are those of the same model elsewhere: plain arithmetic on logits."""

from __future__ import annotations

from dataclasses import replace

import torch

from throughput.inferred import Parity
from throughput.training.predictions import Predictions

LIMIT = 1e-3
"""Of ``Parity.relative`` in fp32: operators are fused and summed in another order."""
_LEAST_MAGNITUDE = 1e-12
"""Keeps the relative difference finite where torch answers zeros."""


def parity_of(both: Predictions, reference_name: str = "torch") -> Parity:
    """Of outputs (N, 2 K): the answers that are judged, and beside them the reference's."""
    answers, reference = both.outputs.double().chunk(2, dim=1)
    classes = not both.labels.is_floating_point()
    off = (answers - reference).abs()
    # A number that is predicted may be 0: then its image's own magnitude is no measure.
    magnitude = reference.abs().amax(dim=1) if classes else reference.abs().max().expand(len(reference))
    magnitude = magnitude.clamp_min(_LEAST_MAGNITUDE)
    first, second = answers.argmax(dim=1), reference.argmax(dim=1)
    return Parity(
        reference=reference_name,
        images=len(both.ids),
        largest=float(off.max()),
        mean=float(off.mean()),
        relative=float((off.amax(dim=1) / magnitude).max()),
        agreement=float((first == second).double().mean()) if classes else None,
        constant=len(reference) > 1 and bool(torch.equal(reference, reference[:1].expand_as(reference))),
        accuracy=float((first == both.labels).double().mean()) if classes else None,
        reference_accuracy=float((second == both.labels).double().mean()) if classes else None,
    )


def halves(both: Predictions) -> tuple[Predictions, Predictions]:
    """The answers that are judged, and the reference's."""
    first, second = both.outputs.chunk(2, dim=1)
    return replace(both, outputs=first.contiguous()), replace(both, outputs=second.contiguous())
