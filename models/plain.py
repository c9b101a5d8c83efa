"""Plain convolutional networks for small images: convolutions, pooling, one hidden dense layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from throughput.contracts import ModelFamily
from throughput.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import nn

_DROPOUT = 0.5
"""Share of the hidden layer's values that a training step leaves out (Srivastava et al., JMLR 15, 2014)."""


class _Plan(NamedTuple):
    """image_size: side of its images. widths: of the convolutions, channels. hidden: dense units."""

    image_size: int
    widths: tuple[int, ...]
    hidden: int


_PLANS = {
    "cnn28": _Plan(28, (32, 64), 128),
    "cnn32": _Plan(32, (32,), 512),
    "cnn64": _Plan(64, (32, 64, 128), 128),
}


class PlainModels(ModelFamily):
    """``cnn28``, ``cnn32`` and ``cnn64``, each for images of so many pixels a side."""

    def names(self) -> tuple[str, ...]:
        """The three."""
        return tuple(_PLANS)

    def build(self, name: str, num_classes: int, channels: int) -> nn.Module:
        """Float (N, channels, S, S) to logits (N, num_classes). Raises UnknownNameError.

        For each width a 3x3 convolution, ReLU and max-pooling by 2; then the hidden dense layer with ReLU and
        dropout, and the classifier. Images of another size than it is made for are averaged to the same
        grid before the dense layer, so that any S of at least 2 for each pooling will do.
        """
        if name not in _PLANS:
            raise UnknownNameError(f"no model is named {name!r} here; there are {', '.join(_PLANS)}")
        from torch import nn

        from throughput.models.layers import Grid

        plan = _PLANS[name]
        layers: list[nn.Module] = []
        inputs = channels
        for width in plan.widths:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            inputs = width
        grid = plan.image_size >> len(plan.widths)
        return nn.Sequential(
            *layers,
            Grid(grid),
            nn.Flatten(),
            nn.Linear(inputs * grid * grid, plan.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(_DROPOUT),
            nn.Linear(plan.hidden, num_classes),
        )

    def image_size(self, name: str) -> int:
        """As its name says."""
        return _PLANS[name].image_size
