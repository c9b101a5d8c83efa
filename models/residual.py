"""A small residual network for 32x32 images that learns in few epochs: for time-to-accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from throughput.contracts import ModelFamily
from throughput.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import nn

_WIDTHS = {"resnet9": (64, 128, 256, 512), "resnet9_half": (32, 64, 128, 256)}
_LOGIT_SCALE = 0.125


class ResidualModels(ModelFamily):
    """``resnet9``, and ``resnet9_half`` with half its channels: a quarter of the work, for a CPU."""

    def names(self) -> tuple[str, ...]:
        """The two."""
        return tuple(_WIDTHS)

    def build(self, name: str, num_classes: int, channels: int) -> nn.Module:
        """Float (N, channels, S, S), any S >= 8, to logits (N, num_classes). Raises UnknownNameError.

        David Page's network of the DAWNBench entry "cifar10-fast" ("How to Train Your ResNet", 2018): 3x3
        convolutions with batch norm and ReLU, max-pooling by 2 behind the last three, residual blocks of two
        convolutions behind the first and the third pooling, the maximum over the image, a dense layer
        without bias, whose logits are scaled.
        """
        if name not in _WIDTHS:
            raise UnknownNameError(f"no model is named {name!r} here; there are {', '.join(_WIDTHS)}")
        from torch import nn

        from throughput.models.layers import GlobalMaximum, Residual, Scaled

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

        def residual(width: int) -> nn.Module:
            return Residual(nn.Sequential(*block(width, width), *block(width, width)))

        stem, first, second, third = _WIDTHS[name]
        return nn.Sequential(
            *block(channels, stem),
            *block(stem, first),
            nn.MaxPool2d(2),
            residual(first),
            *block(first, second),
            nn.MaxPool2d(2),
            *block(second, third),
            nn.MaxPool2d(2),
            residual(third),
            GlobalMaximum(),
            nn.Linear(third, num_classes, bias=False),
            Scaled(_LOGIT_SCALE),
        )

    def image_size(self, name: str) -> int:  # noqa: ARG002 - all have the same
        """That of CIFAR-10."""
        return 32
