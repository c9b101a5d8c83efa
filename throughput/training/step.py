"""One training step: forward in mixed precision, backward, a fused optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.utils import clip_grad_norm_

from throughput.contracts import Batch, ComputeDtype
from throughput.ranks.company import Turn
from throughput.training.averaging import make_average
from throughput.training.classifier import freeze, train_mode
from throughput.training.losses import l1_penalty, make_loss
from throughput.training.optimisers import decayed, make_optimiser
from throughput.training.recipe import MEASURED, Recipe
from throughput.training.schedules import make_schedule


@dataclass(frozen=True)
class StepSettings:
    """device: where the model lies. compute_dtype: what autocast computes in. compile: use torch.compile.

    deterministic: let no algorithm be chosen by its speed of the moment. shared: gradients are averaged over
    the ranks of the process group that this process has joined.
    """

    device: torch.device
    compute_dtype: ComputeDtype = "float32"
    compile: bool = False
    deterministic: bool = False
    shared: bool = False


@dataclass(frozen=True)
class Horizon:
    """How long training goes on, for a schedule. batches_per_epoch: of the loader, the last one included."""

    epochs: int
    batches_per_epoch: int


class TrainingStep:
    """Call it with a ready batch. The loss stays on the device: reading it would make the host wait.

    steps, images: how much it has trained so far; a step is a batch, whatever ``recipe.accumulate`` is.
    """

    def __init__(
        self,
        model: Module,
        settings: StepSettings,
        recipe: Recipe = MEASURED,
        horizon: Horizon | None = None,
        wrap_labels: int | None = None,
    ) -> None:
        """wrap_labels: the number of classes that labels are taken modulo, where they may be any."""
        self._wrap_labels = wrap_labels
        device = self.device = settings.device
        self._dtype: torch.dtype = getattr(torch, settings.compute_dtype)
        self._recipe = recipe
        # Convolutions are fastest in NHWC on both kinds of device, and the batches come that way.
        self.model: Module = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
        if recipe.freeze:
            freeze(self.model)
        train_mode(self.model)
        forward: Callable[[Tensor], Tensor] = self.model
        if settings.shared:
            from throughput.ranks.gradients import averaging

            forward = averaging(self.model, device)
        self._forward = torch.compile(forward) if settings.compile else forward
        self._loss = make_loss(recipe)
        self._optimizer = make_optimiser(self.model, recipe)
        self._penalised = decayed(self.model) if recipe.l1 else []
        self._schedule = None
        if horizon is not None:
            steps_per_epoch = -(-horizon.batches_per_epoch // recipe.accumulate)
            self._schedule = make_schedule(self._optimizer, recipe, steps_per_epoch, horizon.epochs)
        self._average = make_average(self.model, recipe)
        # float16 gradients underflow without scaling; bfloat16 has float32's range.
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)
        self._loss_sum = torch.zeros((), device=device)
        self._steps = 0
        self._gathered_images: list[int] = []
        self.steps = self.images = 0
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = not settings.deterministic

    @property
    def judged(self) -> Module:
        """The model as it is judged: the average of the weights where there is one."""
        return self.model if self._average is None else self._average.module

    @property
    def between_updates(self) -> bool:
        """Whether no gradients are gathered that ``state()`` would not hold."""
        return not self._gathered_images

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def judged_weights(self, state: dict[str, Any]) -> dict[str, Tensor]:
        """Out of a ``state()``, the state dict of ``judged``."""
        if state["average"] is None:
            weights: dict[str, Tensor] = state["model"]
            return weights
        averaged: dict[str, Tensor] = state["average"]["module"]
        return averaged

    def __call__(self, batch: Batch, turn: Turn | None = None) -> Tensor:
        """Train on a ready batch: images (N, C, S, S) in the compute dtype, labels as the loss takes them.

        turn: what the batch counts among those of all ranks; None: a batch of each counts alike. Returns the
        loss without the L1 penalty, a scalar on the device.
        """
        images, labels = batch.images, batch.labels
        if self._wrap_labels is not None:
            labels = labels % self._wrap_labels
        if len(labels) == 1:
            # Batch norm needs two values a channel. Doubled, the last image of an epoch weighs the same.
            images, labels = torch.cat([images, images]), torch.cat([labels, labels])
        with self._autocast():
            loss = self._loss(self._forward(images), labels)
        total = loss + self._recipe.l1 * l1_penalty(self._penalised) if self._penalised else loss
        turn = turn or Turn(len(batch.labels), len(batch.labels), 1)
        self._gathered_images.append(turn.all)
        # Batches that make one step together weigh as their images; alone, a batch has a weight of 1.
        weight = turn.weight * self._gathered_images[-1] / self._gathered_images[0]
        weighted = total if weight == 1 else total * weight
        self._scaler.scale(weighted).backward()  # type: ignore[no-untyped-call] # torch types it not
        if len(self._gathered_images) == self._recipe.accumulate:
            self.update()
        loss = loss.detach()
        self._loss_sum += loss
        self._steps += 1
        self.steps += 1
        self.images += turn.all
        return loss

    def update(self) -> None:
        """Change the weights by the gradients that have been gathered; at an epoch's end, by the rest."""
        if not self._gathered_images:
            return
        if len(self._gathered_images) > 1 or self._recipe.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            self._mend_gradients()
        self._gathered_images.clear()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self._schedule is not None:
            self._schedule.step()
        if self._average is not None:
            self._average.update(self.model)

    def _mend_gradients(self) -> None:
        """From a sum over the gathered batches to the mean over their images; then no longer than allowed."""
        weights = sum(self._gathered_images) / self._gathered_images[0]
        if weights != 1:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.div_(weights)
        if self._recipe.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self._recipe.clip_norm)

    def mean_loss(self) -> float | None:
        """Mean loss since the last call, NaN if one was; waits for the device. None without a step."""
        if self._steps == 0:
            return None
        mean = float(self._loss_sum) / self._steps
        self._loss_sum.zero_()
        self._steps = 0
        return mean

    def state(self) -> dict[str, Any]:
        """All that training has changed so far, as a copy on the host; between steps of the optimiser."""
        return {
            "model": _on_host(self.model.state_dict()),
            "optimizer": _on_host(self._optimizer.state_dict()),
            "scaler": _on_host(self._scaler.state_dict()),
            "schedule": None if self._schedule is None else _on_host(self._schedule.state_dict()),
            "average": None if self._average is None else _on_host(self._average.state_dict()),
            "steps": self.steps,
            "images": self.images,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where ``state`` was taken."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self.steps, self.images = state["steps"], state["images"]
        self.mean_loss()

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Tensor:
        """Outputs (N, classes) of ready images; call ``eval()`` before."""
        with self._autocast():
            outputs: Tensor = self.judged(images)
        return outputs

    def eval(self) -> None:
        """The mode for predicting."""
        self.judged.eval()

    def train(self) -> None:
        """The mode for training, again."""
        train_mode(self.model)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32)


def _on_host(value: Any) -> Any:
    """A copy of a state with its tensors on the host: on the device it would count as the model's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _on_host(part) for key, part in value.items()}
    return [_on_host(part) for part in value] if isinstance(value, list) else value
