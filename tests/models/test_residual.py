"""The residual network: its shapes, its size, and that it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from throughput.errors import UnknownNameError
from throughput.models.layers import Grid
from throughput.models.residual import ResidualModels


@pytest.mark.parametrize(("channels", "size", "classes"), [(3, 32, 10), (1, 28, 5), (3, 8, 2), (3, 65, 7)])
def test_images_of_any_size_and_channels_become_logits(channels: int, size: int, classes: int) -> None:
    model = ResidualModels().build("resnet9_half", classes, channels)
    assert model(torch.zeros(2, channels, size, size)).shape == (2, classes)


def test_it_is_the_network_of_the_entry() -> None:
    model = ResidualModels().build("resnet9", 10, 3)
    # myrtle.ai's: 6,573,130 with the ten biases that its dense layer does without.
    assert sum(parameter.numel() for parameter in model.parameters()) == 6_573_120
    assert len([layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]) == 8


def test_it_learns() -> None:
    torch.manual_seed(0)
    model = ResidualModels().build("resnet9_half", 4, 3)
    images, labels = torch.randn(16, 3, 16, 16), torch.arange(16) % 4
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(6):
        loss = cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="resnet9, resnet9_half"):
        ResidualModels().build("resnet10", 10, 3)


def test_a_grid_that_fits_is_left_as_it_is() -> None:
    images = torch.rand(1, 2, 7, 7)
    assert Grid(7)(images) is images
    assert Grid(7)(torch.rand(1, 2, 9, 5)).shape == (1, 2, 7, 7)
