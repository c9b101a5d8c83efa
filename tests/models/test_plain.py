"""The plain networks: their layers, any number of classes and channels, and that they learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from throughput.errors import UnknownNameError
from throughput.models.plain import PlainModels
from throughput.registry import load_model_family_for

MADE_FOR = {"cnn28": (28, 1, 10), "cnn32": (32, 3, 10), "cnn64": (64, 3, 5)}


@pytest.mark.parametrize(
    ("name", "convolutions", "hidden", "flat"),
    [
        ("cnn28", [32, 64], 128, 64 * 7 * 7),
        ("cnn32", [32], 512, 32 * 16 * 16),
        ("cnn64", [32, 64, 128], 128, 128 * 8 * 8),
    ],
)
def test_the_layers_are_those_of_the_plan(name: str, convolutions: list[int], hidden: int, flat: int) -> None:
    _, channels, classes = MADE_FOR[name]
    model = PlainModels().build(name, classes, channels)
    found = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in found] == convolutions
    assert all(layer.kernel_size == (3, 3) for layer in found)
    dense = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in dense] == [(flat, hidden), (hidden, classes)]
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.modules()) == len(convolutions)
    assert sum(isinstance(layer, nn.Dropout) for layer in model.modules()) == 1


@pytest.mark.parametrize("name", MADE_FOR)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, 17, 96])
def test_logits_for_any_size_channels_and_classes(name: str, channels: int, size: int | None) -> None:
    model = PlainModels().build(name, 7, channels).to(memory_format=torch.channels_last)
    side = size or MADE_FOR[name][0]
    images = torch.randn(2, channels, side, side).contiguous(memory_format=torch.channels_last)
    assert model(images).shape == (2, 7)


@pytest.mark.parametrize("name", MADE_FOR)
def test_images_of_its_own_size_are_not_averaged(name: str) -> None:
    size, channels, classes = MADE_FOR[name]
    model = PlainModels().build(name, classes, channels).eval()
    assert isinstance(model, nn.Sequential)
    without = nn.Sequential(*(layer for layer in model if not isinstance(layer, nn.AdaptiveAvgPool2d)))
    images = torch.randn(2, channels, size, size)
    assert torch.equal(model(images), without(images))


def test_they_are_found_by_name() -> None:
    assert load_model_family_for("cnn28").build("cnn28", 10, 1)(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="cnn28, cnn32, cnn64"):
        PlainModels().build("cnn29", 10, 3)
