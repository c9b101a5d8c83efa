"""One training step: forward in mixed precision, backward, a fused optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy

from throughput.contracts import Batch, ComputeDtype

LEARNING_RATE = 3e-3
"""For AdamW without warm-up or schedule: a measurement may end after any number of steps."""
WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class StepSettings:
    """device: where the model lies. compute_dtype: what autocast computes in. compile: use torch.compile."""

    device: torch.device
    compute_dtype: ComputeDtype = "float32"
    compile: bool = False


class TrainingStep:
    """Call it with a ready batch. The loss stays on the device: reading it would make the host wait.

    steps, images: how much it has trained so far.
    """

    def __init__(self, model: Module, settings: StepSettings) -> None:
        device = settings.device
        self._device = device
        self._dtype: torch.dtype = getattr(torch, settings.compute_dtype)
        # Convolutions are fastest in NHWC on both kinds of device, and the batches come that way.
        self.model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload] # torch's stub lacks it
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.model) if settings.compile else self.model
        )
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        # float16 gradients underflow without scaling; bfloat16 has float32's range.
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)
        self._loss_sum = torch.zeros((), device=device)
        self._steps = 0
        self.steps = self.images = 0
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True

    def __call__(self, batch: Batch) -> None:
        """Train on a ready batch: images (N, C, S, S) in the compute dtype, labels (N,) int64."""
        images, labels = batch.images, batch.labels
        if len(labels) == 1:
            # Batch norm needs two values a channel. Doubled, the last image of an epoch weighs the same.
            images, labels = torch.cat([images, images]), torch.cat([labels, labels])
        with self._autocast():
            loss = cross_entropy(self._forward(images), labels)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call] # torch types it not
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self._loss_sum += loss.detach()
        self._steps += 1
        self.steps += 1
        self.images += len(batch.labels)

    def mean_loss(self) -> float | None:
        """Mean loss since the last call, NaN if one was; waits for the device. None without a step."""
        if self._steps == 0:
            return None
        mean = float(self._loss_sum) / self._steps
        self._loss_sum.zero_()
        self._steps = 0
        return mean

    def state(self) -> dict[str, Any]:
        """All that training has changed so far, as a copy on the host."""
        return {
            "model": _on_host(self.model.state_dict()),
            "optimizer": _on_host(self._optimizer.state_dict()),
            "scaler": _on_host(self._scaler.state_dict()),
            "steps": self.steps,
            "images": self.images,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where ``state`` was taken."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.steps, self.images = state["steps"], state["images"]
        self.mean_loss()

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of ready images; call ``model.eval()`` before."""
        with self._autocast():
            logits: Tensor = self.model(images)
        return logits

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)


def _on_host(value: Any) -> Any:
    """A copy of a state with its tensors on the host: on the device it would count as the model's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _on_host(part) for key, part in value.items()}
    return [_on_host(part) for part in value] if isinstance(value, list) else value
