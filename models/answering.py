"""What computes a model's answers: an onnxruntime session, or the same model in torch, eager or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from throughput.contracts import Work
from throughput.models.onnx_files import Layout
from throughput.models.providers import Session, run_options

Answer = Callable[[Tensor], Tensor]
"""From images as the model takes them to logits (N, K)."""

_GRAPH_OFF = {"gpu_graph_id": "-1"}
"""Run option: this run is neither captured nor replayed (onnxruntime, CUDA Execution Provider)."""
_NO_WAITING = {"disable_synchronize_execution_providers": "1"}
"""Run option: return once all is queued on the caller's stream (onnxruntime_run_options_config_keys.h)."""


def pixels_of(work: Work) -> Callable[[Tensor], Tensor]:
    """From ready images (N, C, S, S) of a work back to their pixels, uint8 (N, S, S, C) contiguous."""
    mean, std = (torch.tensor(one).view(1, -1, 1, 1) for one in (work.mean, work.std))

    def pixels(images: Tensor) -> Tensor:
        unit = images.float() * std.to(images.device) + mean.to(images.device)
        return (unit * 255).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    return pixels


def session_answer(opened: Session, layout: Layout, *, fixed_batch: int | None = None) -> Answer:
    """Logits float32 (N, K) of a session for images that lie where it runs.

    layout: of the images: float32 (N, C, S, S) or uint8 (N, S, S, C), contiguous. On a GPU neither images nor
    logits leave it (IO binding); where the session works on the caller's stream it returns once all is queued
    there. fixed_batch: the session captures CUDA graphs, of batches of this size.
    """
    if opened.provider == "cpu":
        return _on_host(opened.session)
    return _on_device(opened, layout, fixed_batch)


def _on_host(session: Any) -> Answer:
    name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]

    def answer(images: Tensor) -> Tensor:
        (logits,) = session.run(outputs, {name: images.numpy()})
        return torch.from_numpy(logits)

    return answer


def _on_device(opened: Session, layout: Layout, fixed_batch: int | None) -> Answer:
    session = opened.session
    given, wanted = session.get_inputs()[0].name, session.get_outputs()[0]
    kind = np.uint8 if layout == "uint8 NHWC" else np.float32
    classes = wanted.shape[1]
    held: dict[int, tuple[Tensor, Tensor]] = {}
    """Of a captured graph: it reads and writes where it did when it was captured."""

    def answer(images: Tensor) -> Tensor:
        count, device = len(images), images.device
        options = None
        if fixed_batch == count:
            if count not in held:
                held[count] = torch.empty_like(images), torch.empty((count, classes), device=device)
            captured, logits = held[count]
            captured.copy_(images)
            images = captured
        else:
            logits = torch.empty((count, classes), device=device)
            if fixed_batch is not None:
                options = run_options(_GRAPH_OFF)
        if opened.on_our_stream:
            options = run_options(_NO_WAITING)
        else:
            # onnxruntime works on a stream of its own: what torch has queued must be done.
            torch.cuda.current_stream(device).synchronize()
        binding = session.io_binding()
        index = device.index or 0
        binding.bind_input(given, "cuda", index, kind, tuple(images.shape), images.data_ptr())
        binding.bind_output(wanted.name, "cuda", index, np.float32, tuple(logits.shape), logits.data_ptr())
        session.run_with_iobinding(binding, options)
        if not opened.on_our_stream:
            binding.synchronize_outputs()
        return logits.clone() if fixed_batch == count else logits

    return answer
