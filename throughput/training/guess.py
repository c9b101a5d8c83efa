"""What a trained model sees in a few images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from throughput.choices import choose_device
from throughput.contracts import Augmentation, Batch, Work
from throughput.measure.feed import finisher
from throughput.pixels import render_batch
from throughput.training.checkpoint import Checkpoint
from throughput.training.files import NamedFiles
from throughput.training.precision import choose_dtype
from throughput.training.predictions import answering

_BATCH_SIZE = 32


def guess(
    checkpoint: Checkpoint, images: Sequence[Path], *, device: str = "auto", precision: str = "auto"
) -> Tensor:
    """Probabilities (N, C) of the classes, on the host; of float targets, the numbers (N, K).

    The images are made as held-out ones are. Raises SampleError for one that cannot be read.
    """
    subject = checkpoint.subject
    chosen = choose_device(device)
    source = NamedFiles(tuple(images), subject.classes)
    work = Work(
        source=source,
        split="val",
        image_size=subject.image_size,
        channels=subject.channels,
        batch_size=_BATCH_SIZE,
        augmentation=Augmentation(crop=subject.crop),  # type: ignore[arg-type] # it checks the name
        mean=subject.mean,
        std=subject.std,
        compute_dtype=choose_dtype(precision, chosen),
        device=str(chosen),
    )
    answer = answering(checkpoint.load(), chosen, work.compute_dtype)
    finish = finisher(work)
    found = []
    for start in range(0, len(images), _BATCH_SIZE):
        ids = torch.arange(start, min(start + _BATCH_SIZE, len(images)))
        numbers = ids.numpy()
        encoded = [source.read(int(sample)) for sample in numbers]
        pixels = torch.from_numpy(render_batch(work, 0, numbers, encoded)).permute(0, 3, 1, 2)
        with finish.stream():
            ready = finish(Batch(pixels, torch.zeros(len(ids), dtype=torch.int64), ids))
        finish.hand_over(ready)
        found.append(answer(ready.images).float().cpu())
    outputs = torch.cat(found)
    return outputs.double().softmax(dim=1) if subject.classes else outputs
