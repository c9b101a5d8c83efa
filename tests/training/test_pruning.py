"""Pruned models have the zeros that were asked for, keep them while they learn, and are hardly worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from throughput.contracts import Augmentation, Work
from throughput.errors import OptionError
from throughput.registry import load_model_family_for
from throughput.training.checkpoint import Subject, read, save
from throughput.training.course import Training
from throughput.training.errors import CheckpointError
from throughput.training.judging import Judging
from throughput.training.pruning import compare, make_permanent, prune_model
from throughput.training.recipe import Recipe
from throughput.training.trainer import train

MakeTraining = Callable[..., Training]


def network() -> nn.Module:
    torch.manual_seed(0)
    return load_model_family_for("cnn28").build("cnn28", 10, 1)


def layers(model: nn.Module) -> list[torch.Tensor]:
    return [layer.weight.detach() for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


@pytest.mark.parametrize("sparsity", [0.3, 0.9])
def test_the_smallest_weights_of_all_layers_become_zero(sparsity: float) -> None:
    before, model = torch.cat([weight.flatten() for weight in layers(network())]), network()
    prune_model(model, sparsity, "magnitude")
    after = torch.cat([weight.flatten() for weight in layers(make_permanent(model))])
    assert float((after == 0).double().mean()) == pytest.approx(sparsity, abs=1e-5)
    assert before[after == 0].abs().max() <= before[after != 0].abs().min()
    assert torch.equal(after[after != 0], before[after != 0])
    assert set(model.state_dict()) == set(network().state_dict()), "no masks are left"


def test_channels_become_zero_as_a_whole_and_the_classifier_stays() -> None:
    model = network()
    prune_model(model, 0.5, "channels")
    *hidden, classifier = layers(make_permanent(model))
    for weight, before in zip(hidden, layers(network()), strict=False):
        silent = (weight.flatten(1) == 0).all(dim=1)
        assert float(silent.double().mean()) == 0.5
        norms = before.flatten(1).norm(dim=1)
        assert norms[silent].max() <= norms[~silent].min()
    assert bool((classifier != 0).all())


def test_a_channel_of_each_layer_stays() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 4, 3), nn.Linear(4, 2))
    prune_model(model, 0.95, "channels")
    for weight in layers(make_permanent(model))[:2]:
        assert int((weight.flatten(1) != 0).any(dim=1).sum()) == 1


class Attending(nn.Module):
    """torch's attention reads the weight of its last layer and never calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.classifier = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = images.flatten(0, 1)
        attended, _ = self.attention(rows, rows, rows, need_weights=False)
        return self.classifier(attended.mean(dim=1))


def test_weights_that_are_read_elsewhere_stay_zero_while_they_learn() -> None:
    torch.manual_seed(0)
    model = Attending()
    before = model.attention.out_proj.weight.detach().clone()
    prune_model(model, 0.5, "magnitude")
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(3):
        loss = model(torch.randn(4, 1, 8, 8)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images = torch.randn(4, 1, 8, 8)
    outputs = model.eval()(images)
    found = layers(make_permanent(model))
    share = sum(int((weight == 0).sum()) for weight in found) / sum(weight.numel() for weight in found)
    assert share == pytest.approx(0.5, abs=0.01)
    after = model.attention.out_proj.weight
    assert bool((after != before)[after != 0].all()), "what was left has learnt"
    torch.testing.assert_close(model(images), outputs)


def test_eighty_per_cent_less_and_hardly_worse(training: MakeTraining, work: Work, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    train(training(15, {"schedule": "cosine"}, checkpoint=path))
    judging = Judging(work.source, workers=1, device="cpu", precision="fp32")
    recipe = Recipe(learning_rate=1e-3, schedule="cosine")
    pruned, (before, cut, after) = compare(
        judging, path, read(path), 0.8, "magnitude", recipe=recipe, epochs=6
    )
    assert before.nonzero == before.parameters
    weights = sum(weight.numel() for weight in layers(network()))
    for stage in (cut, after):
        assert stage.parameters - stage.nonzero == pytest.approx(0.8 * weights, rel=1e-3)
        assert stage.compressed_bytes < 0.5 * before.compressed_bytes
        assert stage.bytes == before.bytes == 4 * before.parameters
        assert stage.images_per_second > 0
    assert before.accuracy is not None
    assert after.accuracy is not None
    # One of 48 images is two points.
    assert after.accuracy >= before.accuracy - 0.021
    assert after.loss != cut.loss, "it has learnt on"
    save(tmp_path / "pruned.pt", pruned)
    again = read(tmp_path / "pruned.pt").load()
    assert sum(int(weight.count_nonzero()) for weight in layers(again)) < 0.21 * weights


@dataclass(frozen=True)
class Noted(Judging):
    """Remembers how the images were augmented that a model learnt on with."""

    augmentations: list[Augmentation] = field(default_factory=list)

    def training_work(self, subject: Subject, augmentation: Augmentation, seed: int) -> Work:
        self.augmentations.append(augmentation)
        return super().training_work(subject, augmentation, seed)


def test_a_model_that_is_pruned_again_learns_on_with_the_same_augmentation(
    training: MakeTraining, work: Work, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    chosen = Augmentation(crop="none", flip=0, rotation_degrees=10)
    train(training(1, work=replace(work, augmentation=chosen), checkpoint=path))
    judging = Noted(work.source, workers=1, device="cpu", precision="fp32")
    for sparsity in (0.3, 0.6):
        pruned, _ = compare(
            judging, path, read(path), sparsity, "magnitude", recipe=Recipe(learning_rate=1e-3), epochs=1
        )
        save(path, pruned)
    assert judging.augmentations == [chosen, chosen]
    with pytest.raises(CheckpointError, match="holds weights only"):
        train(training(1, work=replace(work, augmentation=chosen), checkpoint=path, resume=True))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"sparsity": 1.0}, "--sparsity must lie between 0 and 1"),
        ({"method": "random"}, "--method must be one of magnitude, channels"),
    ],
)
def test_what_cannot_be_pruned_is_refused(choice: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        prune_model(network(), **({"sparsity": 0.5, "method": "magnitude"} | choice))
