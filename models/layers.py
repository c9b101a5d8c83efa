"""Layers that several networks here are made of. It imports torch: import it inside functions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Grid(nn.AdaptiveAvgPool2d):
    """(N, C, H, W) averaged to (N, C, S, S); as it is where it has that size already.

    The averaging has no deterministic gradient on a GPU, and most images come in the size that suits.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Averaged, or as it is."""
        size = self.output_size
        return images if tuple(images.shape[2:]) == (size, size) else super().forward(images)


class GlobalMaximum(nn.Module):
    """(N, C, H, W) to each channel's largest value, (N, C)."""

    def forward(self, images: Tensor) -> Tensor:
        """The maxima."""
        return images.amax(dim=(2, 3))


class Residual(nn.Module):
    """What goes in plus what the block makes of it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, images: Tensor) -> Tensor:
        """The sum."""
        added: Tensor = images + self.block(images)
        return added


class Scaled(nn.Module):
    """Times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: Tensor) -> Tensor:
        """The product."""
        return torch.mul(values, self.factor)
