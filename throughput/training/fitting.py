"""Whether a model takes the images that it is to train on."""

from __future__ import annotations

import torch
from torch.nn import Module

from throughput.errors import OptionError
from throughput.training.checkpoint import Subject


def require_fit(model: Module, subject: Subject) -> None:
    """Raise OptionError, before any image is read, where the model cannot take such images."""
    image = torch.zeros(1, subject.channels, subject.image_size, subject.image_size)
    given = f"{subject.model} cannot train on images of {subject.image_size} px, {subject.channels} channels"
    try:
        with torch.no_grad():
            shape = tuple(model.eval()(image).shape)
    except Exception as error:  # a model may refuse in any way
        cause = " ".join(str(error).split())
        raise OptionError(f"{given}: {cause}; choose another --size or --model") from error
    if shape != (1, subject.outputs):
        raise OptionError(f"{given}: it gives {shape[1:]} for each, and {subject.outputs} numbers are wanted")
