"""torchvision's classification models, by their torchvision names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from throughput.contracts import ModelFamily, Requirement
from throughput.measure.diagnosis import TORCH_PAIR
from throughput.measure.environment import Finding

if TYPE_CHECKING:
    from torch.nn import Module


class TorchvisionModels(ModelFamily):
    """Everything that ``torchvision.models`` registers for classification, untrained."""

    requires = (
        Requirement("torch", "pip install torch"),
        Requirement("torchvision", "pip install torchvision"),
    )

    def names(self) -> tuple[str, ...]:
        """Names as ``torchvision.models.get_model`` takes them."""
        return _classification_names()

    def build(self, name: str, num_classes: int, channels: int) -> Module:
        """The model with ``channels`` inputs in its first convolution."""
        from torchvision.models import get_model

        model: Module = get_model(name, weights=None, num_classes=num_classes, **_quiet(name))
        return model if channels == 3 else _with_channels(model, channels)

    def image_size(self, name: str) -> int:
        """224; Inception v3's is 299 (Szegedy et al., CVPR 2016)."""
        return 299 if name == "inception_v3" else super().image_size(name)


def diagnose() -> Iterable[Finding]:
    """Whether torchvision loads beside this torch: its operators are compiled against one build."""
    try:
        import torchvision
    except Exception as error:  # noqa: BLE001 - a mismatch is a RuntimeError, OSError, ImportError...
        cause = " ".join(str(error).split())
        yield Finding("torchvision", "does not import beside this torch", cause, TORCH_PAIR)
        return
    yield Finding("torchvision", str(torchvision.__version__))


@cache
def _classification_names() -> tuple[str, ...]:
    from torchvision import models

    return tuple(models.list_models(module=models))


def _quiet(name: str) -> dict[str, bool]:
    """Inception and GoogLeNet warn about a default and, training, return more than logits."""
    if name == "googlenet":
        return {"aux_logits": False, "init_weights": True}
    if name == "inception_v3":
        return {"aux_logits": False, "init_weights": True}
    return {}


def _with_channels(model: Module, channels: int) -> Module:
    """Give the first convolution ``channels`` inputs in place of three."""
    from torch import nn

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            parent = model.get_submodule(name.rpartition(".")[0])
            first = nn.Conv2d(
                channels,
                module.out_channels,
                module.kernel_size,  # type: ignore[arg-type] # torch types it as a tuple of any length
                module.stride,  # type: ignore[arg-type] # as above
                module.padding,  # type: ignore[arg-type] # as above
                bias=module.bias is not None,
            )
            setattr(parent, name.rpartition(".")[2], first)
            break
    return model
