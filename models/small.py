"""A small convolutional network that a CPU trains in seconds: the default model where there is no GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from throughput.contracts import ModelFamily
from throughput.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import nn

_WIDTHS = (24, 48, 96, 192)
_MOMENTUM = 0.3
"""Of batch norm's running statistics. The usual 0.1 takes dozens of steps; an epoch may have four."""


class SmallModels(ModelFamily):
    """``cnn_small``: four convolutions with batch norm, global average pooling, one linear layer."""

    def names(self) -> tuple[str, ...]:
        """The one model."""
        return ("cnn_small",)

    def build(self, name: str, num_classes: int, channels: int) -> nn.Module:
        """``cnn_small`` for float (N, channels, S, S), any S >= 4, to logits (N, num_classes).

        A 4x4 stem of stride 4, then 3x3 convolutions of stride 2. Raises UnknownNameError.
        """
        if name not in self.names():
            raise UnknownNameError(f"no model is named {name!r} here; there is {', '.join(self.names())}")
        from torch import nn

        def block(inputs: int, outputs: int, size: int, stride: int, padding: int) -> list[nn.Module]:
            return [
                nn.Conv2d(inputs, outputs, size, stride, padding, bias=False),
                nn.BatchNorm2d(outputs, momentum=_MOMENTUM),
                nn.ReLU(inplace=True),
            ]

        layers = block(channels, _WIDTHS[0], size=4, stride=4, padding=0)
        inputs = _WIDTHS[0]
        for outputs in _WIDTHS[1:]:
            layers += block(inputs, outputs, size=3, stride=2, padding=1)
            inputs = outputs
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
