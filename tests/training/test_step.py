"""The training step learns, repeats itself by seed, and skips what float16 cannot hold."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from throughput.contracts import Batch, ComputeDtype
from throughput.models.small import SmallModels
from throughput.training.step import StepSettings, TrainingStep

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small convolutions are slower on several threads of a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def new_step(dtype: ComputeDtype = "float32", seed: int = 0, **settings: bool) -> TrainingStep:
    torch.manual_seed(seed)
    return TrainingStep(SmallModels().build("cnn_small", 2, 3), StepSettings(CPU, dtype, **settings))


def batch_for(dtype: ComputeDtype = "float32", seed: int = 0) -> Batch:
    """Two classes that differ in brightness."""
    labels = torch.arange(16) % 2
    noise = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    images = noise + (2.0 * labels - 1).view(-1, 1, 1, 1)
    return Batch(
        images.to(getattr(torch, dtype), memory_format=torch.channels_last), labels, torch.arange(16)
    )


def losses(step: TrainingStep, dtype: ComputeDtype = "float32", steps: int = 12) -> list[float]:
    found = []
    for _ in range(steps):
        step(batch_for(dtype))
        loss = step.mean_loss()
        assert loss is not None
        found.append(loss)
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_loss_falls(dtype: ComputeDtype) -> None:
    found = losses(new_step(dtype), dtype)
    assert found[-1] < 0.5 * found[0]


def test_the_same_seed_gives_the_same_losses_and_another_does_not() -> None:
    first = losses(new_step(), steps=4)
    assert losses(new_step(), steps=4) == first
    assert losses(new_step(seed=1), steps=4) != first


def test_weights_and_gradients_stay_in_float32() -> None:
    step = new_step("bfloat16")
    step(batch_for("bfloat16"))
    assert {parameter.dtype for parameter in step.model.parameters()} == {torch.float32}


def test_weights_lie_channels_last() -> None:
    weights = [module.weight for module in new_step().model.modules() if isinstance(module, nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_the_mean_loss_is_of_the_steps_since_it_was_last_read() -> None:
    step, single = new_step(), new_step()
    each = losses(single, steps=4)
    for _ in range(3):
        step(batch_for())
    assert step.mean_loss() == pytest.approx(sum(each[:3]) / 3)
    assert step.mean_loss() is None
    step(batch_for())
    assert step.mean_loss() == pytest.approx(each[3])


def test_no_step_has_no_loss() -> None:
    assert new_step().mean_loss() is None


def test_a_loss_that_is_no_number_is_told() -> None:
    step = new_step()
    step(batch_for()._replace(images=torch.full((16, 3, 32, 32), float("nan"))))
    loss = step.mean_loss()
    assert loss is not None
    assert loss != loss  # noqa: PLR0124 - NaN


def test_float16_skips_a_step_whose_gradients_overflow() -> None:
    step = new_step("float16")
    step(batch_for("float16"))
    before = [parameter.clone() for parameter in step.model.parameters()]
    step(batch_for("float16")._replace(images=torch.full((16, 3, 32, 32), float("inf"), dtype=torch.float16)))
    after = list(step.model.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_predicting_computes_in_the_compute_dtype_and_keeps_no_graph() -> None:
    step = new_step("bfloat16")
    step.model.eval()
    logits = step.predict(batch_for("bfloat16").images)
    assert logits.dtype == torch.bfloat16
    assert logits.shape == (16, 2)
    assert not logits.requires_grad


def test_the_model_is_compiled_only_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def compile_nothing(model: nn.Module) -> nn.Module:
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compile_nothing)
    new_step()
    assert compiled == []
    step = new_step(compile=True)
    assert compiled == [step.model]
    step(batch_for())
    assert step.mean_loss() is not None


def test_a_batch_of_one_image_can_be_trained_on() -> None:
    step = new_step()
    images, labels, ids = batch_for()
    step(Batch(images[:1, :, :8, :8], labels[:1], ids[:1]))
    assert step.images == 1
    loss = step.mean_loss()
    assert loss is not None
    assert math.isfinite(loss), "batch norm over one value a channel"
