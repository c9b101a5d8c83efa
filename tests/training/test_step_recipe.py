"""What a recipe adds to the training step, against the same in plain torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from throughput.contracts import Batch
from throughput.training.recipe import Recipe
from throughput.training.step import Horizon, StepSettings, TrainingStep

SETTINGS = StepSettings(torch.device("cpu"))
PLAIN: dict[str, Any] = {"optimiser": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))


def images(count: int, seed: int = 1) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(count, 1, 4, 4, generator=draw),
        torch.randint(4, (count,), generator=draw),
        torch.arange(count),
    )


def part(batch: Batch, start: int, end: int) -> Batch:
    return Batch(*(value[start:end] for value in batch))


def weights(step: TrainingStep) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in step.model.parameters()])


def new_step(**choices: Any) -> TrainingStep:
    return TrainingStep(network(), SETTINGS, Recipe(**(PLAIN | choices)))


@pytest.mark.parametrize("cuts", [(0, 8, 16), (0, 4, 8, 12, 16), (0, 8, 11), (0, 8, 16, 18)])
def test_gathered_batches_are_one_large_batch(cuts: tuple[int, ...]) -> None:
    whole = images(cuts[-1])
    one, several = new_step(clip_norm=0.2), new_step(clip_norm=0.2, accumulate=len(cuts) - 1)
    one(whole)
    for start, end in pairwise(cuts):
        several(part(whole, start, end))
    torch.testing.assert_close(weights(several), weights(one))


def test_what_is_left_of_an_epoch_is_a_step_too() -> None:
    batch = images(8)
    one, rest = new_step(), new_step(accumulate=3)
    one(batch)
    rest(part(batch, 0, 4))
    rest(part(batch, 4, 8))
    assert torch.equal(weights(rest), weights(new_step())), "not yet"
    rest.update()
    torch.testing.assert_close(weights(rest), weights(one))
    rest.update()
    torch.testing.assert_close(weights(rest), weights(one), msg="nothing was left")


def test_a_long_gradient_is_cut_to_the_norm_and_a_short_one_is_not() -> None:
    batch = images(8)
    free, cut, loose = new_step(), new_step(clip_norm=0.01), new_step(clip_norm=1e6)
    start = weights(free)
    for step in (free, cut, loose):
        step(batch)
    assert float((weights(cut) - start).norm()) == pytest.approx(0.1 * 0.01, rel=1e-3)
    torch.testing.assert_close(weights(loose), weights(free))


def test_the_l1_penalty_pulls_weights_and_no_biases() -> None:
    batch = images(8)
    free, pulled = new_step(), new_step(l1=0.5)
    signs = [parameter.detach().sign() for parameter in free.model.parameters()]
    free(batch)
    loss = pulled(batch)
    assert loss.item() == pytest.approx(cross_entropy(network()(batch.images), batch.labels).item())
    for one, other, sign in zip(free.model.parameters(), pulled.model.parameters(), signs, strict=True):
        pull = 0.1 * 0.5 * sign if one.ndim > 1 else torch.zeros(())
        torch.testing.assert_close(other, one - pull)


def test_the_average_begins_with_the_first_step_and_follows() -> None:
    step = new_step(averaging=0.75)
    seen = []
    for seed in range(4):
        step(images(8, seed))
        seen.append(weights(step))
    wanted = seen[0]
    for following in seen[1:]:
        wanted = 0.75 * wanted + 0.25 * following
    found = torch.cat([parameter.flatten() for parameter in step.judged.parameters()])
    torch.testing.assert_close(found, wanted)
    assert not torch.equal(found, weights(step))
    step.eval()
    outputs = step.predict(images(3).images)
    torch.testing.assert_close(outputs, step.judged(images(3).images).detach())


def test_the_averaged_weights_are_found_in_the_state() -> None:
    step = new_step(averaging=0.5)
    for seed in range(3):
        step(images(8, seed))
    twin = network()
    twin.load_state_dict(step.judged_weights(step.state()))
    for one, other in zip(twin.parameters(), step.judged.parameters(), strict=True):
        assert torch.equal(one, other)


def test_frozen_layers_and_their_norms_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten(), nn.Linear(12, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = TrainingStep(model, SETTINGS, Recipe(**PLAIN, freeze=True))
    step(images(8))
    step.eval()
    step.train()
    step(images(8))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("4.")), name


def test_what_drops_before_the_classifier_drops_though_the_rest_is_frozen() -> None:
    frozen = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout())
    model = nn.Sequential(frozen, nn.Flatten(), nn.Dropout(), nn.Linear(12, 4))
    TrainingStep(model, SETTINGS, Recipe(**PLAIN, freeze=True))
    assert model[2].training
    assert model[3].training
    assert not any(module.training for module in frozen.modules())


def test_the_average_of_norms_is_of_numbers_and_their_counts_are_copied() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 4))
    step = TrainingStep(model, SETTINGS, Recipe(**(PLAIN | {"averaging": 0.5})))
    means = []
    for seed in range(3):
        step(images(8, seed))
        means.append(step.model[0].running_mean.clone())  # type: ignore[index] # it is a Sequential
    found = dict(step.judged.named_buffers())
    assert found["0.num_batches_tracked"] == 3
    torch.testing.assert_close(found["0.running_mean"], means[0] / 4 + means[1] / 4 + means[2] / 2)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "onecycle"])
@pytest.mark.parametrize("optimiser", ["sgd", "nesterov", "adam", "adamw"])
def test_a_state_goes_on_as_if_nothing_had_happened(schedule: str, optimiser: str) -> None:
    recipe = Recipe(
        optimiser=optimiser,  # type: ignore[arg-type]
        schedule=schedule,  # type: ignore[arg-type]
        warmup_epochs=0.0 if schedule == "onecycle" else 0.5,
        step_epochs=1,
        averaging=0.9,
    )
    horizon = Horizon(epochs=3, batches_per_epoch=2)
    straight, stopped = (TrainingStep(network(), SETTINGS, recipe, horizon) for _ in range(2))
    for seed in range(6):
        straight(images(8, seed))
    for seed in range(3):
        stopped(images(8, seed))
    resumed = TrainingStep(network(), SETTINGS, recipe, horizon)
    resumed.restore(stopped.state())
    for seed in range(3, 6):
        resumed(images(8, seed))
    assert torch.equal(weights(resumed), weights(straight))
    assert resumed.learning_rate == straight.learning_rate
    for one, other in zip(resumed.judged.parameters(), straight.judged.parameters(), strict=True):
        assert torch.equal(one, other)
