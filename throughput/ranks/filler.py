"""What a rank steps with that has no batch, while the others have."""

from __future__ import annotations

import torch

from throughput.contracts import Batch, Work


def blank(work: Work) -> Batch:
    """One black image as a ready batch, for a rank that had none of its own yet."""
    size, dtype = work.image_size, getattr(torch, work.compute_dtype)
    images = torch.zeros((1, work.channels, size, size), dtype=dtype, device=work.device)
    labels = torch.from_numpy(work.source.labels[:1]).to(work.device)
    return Batch(images.contiguous(memory_format=torch.channels_last), labels, torch.full((1,), -1))


def filler_like(batch: Batch) -> Batch:
    """One image of a ready batch, as a copy, under the id of padding."""
    images = batch.images[:1].clone(memory_format=torch.preserve_format)
    return Batch(images, batch.labels[:1].clone(), torch.full((1,), -1, dtype=torch.int64))
