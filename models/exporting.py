"""From a torch model to one ``.onnx`` file that answers the same: exported, checked, and compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from throughput.cache import whole_file
from throughput.contracts import Progress, Work, no_progress
from throughput.errors import OptionError, first_line
from throughput.inferred import Parity
from throughput.measure.environment import usable_cores
from throughput.models.answering import pixels_of, session_answer
from throughput.models.onnx_files import (
    LEAST_OPSET,
    Layout,
    OnnxError,
    describe,
    require_size,
    require_valid,
    with_metadata,
)
from throughput.models.parity import LIMIT, parity_of
from throughput.models.providers import open_session
from throughput.stdout import stdout_to_stderr
from throughput.training.checkpoint import Subject
from throughput.training.judging import Judging
from throughput.training.predictions import answering

OPSET = 20
"""What torch's exporter writes without converting; onnxruntime 1.17 and later take it."""
NEWEST_OPSET = 23
IMAGES = 256
"""Real images that the answers are compared for."""
_EXAMPLES = 2
"""Images that the exporter traces with: one would be taken for a constant."""


@dataclass(frozen=True)
class Exported:
    """What was written. bytes: of the file."""

    path: Path
    bytes: int
    opset: int
    layout: Layout
    parity: Parity


class Normalising(nn.Module):
    """uint8 (N, S, S, C), as decoders make them, to what ``model`` answers for normalised (N, C, S, S).

    The same arithmetic as ``measure.feed``'s: pixel * scale + shift is (pixel / 255 - mean) / std.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, subject: Subject) -> None:
        super().__init__()
        self.model = model
        mean, std = (torch.tensor(one, dtype=torch.float64) for one in (subject.mean, subject.std))
        self.register_buffer("scale", (1 / (255 * std)).float().view(1, -1, 1, 1))
        self.register_buffer("shift", (-mean / std).float().view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, K)."""
        images = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.scale + self.shift
        answered: Tensor = self.model(images)
        return answered


def export(
    model: nn.Module,
    subject: Subject,
    out: Path,
    judging: Judging,
    *,
    opset: int = OPSET,
    embed_preprocessing: bool = False,
    command: str = "",
    limit: float = LIMIT,
    progress: Progress = no_progress,
) -> Exported:
    """Write ``model`` to ``out``, once it has answered ``judging``'s images as torch does.

    command: that made the weights. limit: of ``Parity.relative``. Raises OnnxError, and leaves no file, where
    the export fails or the answers differ.
    """
    if not LEAST_OPSET <= opset <= NEWEST_OPSET:
        raise OptionError(f"--opset must lie between {LEAST_OPSET} and {NEWEST_OPSET}, got {opset}")
    if not 0 < limit < 1:
        raise OptionError(f"--limit must lie between 0 and 1, got {limit!r}")
    tensors = (*model.parameters(), *model.buffers())
    require_size(sum(one.numel() * one.element_size() for one in tensors), subject.model)
    layout: Layout = "uint8 NHWC" if embed_preprocessing else "float32 NCHW"
    progress(f"exporting {subject.model}", 0, None)
    # Where NHWC weights are kept, the graph transposes them on each call.
    plain = model.cpu().to(memory_format=torch.contiguous_format).eval()
    data = with_metadata(
        _traced(Normalising(plain, subject) if embed_preprocessing else plain, subject, layout, opset),
        subject,
        precision="fp32",
        command=command,
        layout=layout,
    )
    require_valid(data, subject.model)
    found = describe(out, data)
    if found.opset != opset:
        raise OnnxError(
            f"torch exported {subject.model} to opset {found.opset}, and cannot bring it to {opset}: choose "
            f"--opset {found.opset}"
        )
    parity = _parity(plain, data, found.layout, subject, judging, progress)
    if parity.relative > limit or not np.isfinite(parity.largest):
        raise OnnxError(
            f"{subject.model}: what was exported answers otherwise than torch does, and {out} was not "
            f"written: {parity.words}; the limit is {limit:g} (--limit)"
        )
    with whole_file(out) as file:
        file.write(data)
    return Exported(out, len(data), found.opset, layout, parity)


def _traced(model: nn.Module, subject: Subject, layout: Layout, opset: int) -> Any:
    """The model's graph, with an open batch, by torch's exporter."""
    size, channels = subject.image_size, subject.channels
    if layout == "uint8 NHWC":
        example = torch.zeros((_EXAMPLES, size, size, channels), dtype=torch.uint8)
    else:
        example = torch.zeros((_EXAMPLES, channels, size, size))
    try:
        with stdout_to_stderr(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (example,),
                input_names=["images"],
                output_names=["logits"],
                opset_version=opset,
                dynamo=True,
                external_data=False,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except Exception as error:  # the exporter fails in many ways, with pages of text
        raise OnnxError(
            f"torch cannot export {subject.model} to opset {opset}: {first_line(error)}"
        ) from error
    assert program is not None
    return program.model_proto


def _parity(
    model: nn.Module, data: bytes, layout: Layout, subject: Subject, judging: Judging, progress: Progress
) -> Parity:
    """Both answer for the same ready images, which come through the loader.

    A graph that normalises by itself is given the pixels that the ready images are made of.
    """
    progress("comparing with torch", 0, None)
    session = session_answer(open_session(data, "cpu", usable_cores()), layout)
    reference: Callable[[Tensor], Tensor] = answering(model, torch.device("cpu"), "float32")

    def both(work: Work) -> Callable[[Tensor], Tensor]:
        pixels = pixels_of(work)

        def answer(images: Tensor) -> Tensor:
            given = pixels(images) if layout == "uint8 NHWC" else images.contiguous()
            return torch.cat([session(given), reference(images)], dim=1)

        return answer

    few = replace(
        judging, ids=evenly(np.arange(len(judging.source.labels)), IMAGES), device="cpu", precision="fp32"
    )
    # Most were trained on: how many of them are told right says nothing.
    return replace(parity_of(few.answers(subject, both, progress)), accuracy=None, reference_accuracy=None)


def evenly(ids: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of ids (N,), from the first to the last."""
    return ids[np.linspace(0, len(ids) - 1, min(most, len(ids))).astype(np.int64)]
