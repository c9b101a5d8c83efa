"""Held-out images judged by all ranks, each its share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from throughput.contracts import Batch, Fault, Work
from throughput.errors import LoaderError
from throughput.ranks.company import Company
from throughput.training.predictions import Predictions, answered, predict, require_whole


def judging_share(work: Work, company: Company) -> Work:
    """This rank's part of held-out images; all of them where there are fewer than ranks."""
    if len(work.source.ids("val")) < company.size:
        return replace(work, rank=0, world_size=1)
    return work


def predict_together(
    answer: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    wanted: NDArray[np.int64],
    take_faults: Callable[[], list[Fault]],
    company: Company,
) -> Predictions:
    """As ``predict``, of all ranks' batches; the same in each rank."""
    if company.size == 1 or len(wanted) < company.size:
        return predict(answer, batches, wanted, take_faults)
    # Of a small share all may be bad: whether too few came is judged by all.
    told = company.everyone((answered(answer, batches), take_faults()))
    shares = [one for one, _ in told if one is not None]
    if not shares:
        raise LoaderError("the loader yielded no image of this split")
    ids, labels, outputs = (
        torch.cat([getattr(one, name) for one in shares]) for name in ("ids", "labels", "outputs")
    )
    order = ids.argsort(stable=True)
    first = torch.ones(len(ids), dtype=torch.bool)
    first[1:] = ids[order][1:] != ids[order][:-1]
    kept = order[first]
    bad = [fault.id for _, faults in told for fault in faults]
    return require_whole(Predictions(ids[kept], labels[kept], outputs[kept]), wanted, bad)
