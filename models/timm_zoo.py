"""timm's models, as ``timm:NAME``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from throughput.contracts import ModelFamily, Requirement

if TYPE_CHECKING:
    from torch.nn import Module


class TimmModels(ModelFamily):
    """Everything that timm registers, untrained."""

    requires = (Requirement("timm", "pip install timm"),)
    prefix = "timm"

    def names(self) -> tuple[str, ...]:
        """``timm:`` and the names that ``timm.create_model`` takes."""
        import timm

        return tuple(f"{self.prefix}:{name}" for name in timm.list_models())

    def build(self, name: str, num_classes: int, channels: int) -> Module:
        """The model for so many classes and channels; weights come from ``--weights``, never a download."""
        import timm

        model: Module = timm.create_model(
            name.removeprefix(f"{self.prefix}:"), pretrained=False, num_classes=num_classes, in_chans=channels
        )
        return model

    def image_size(self, name: str) -> int:
        """What timm's own weights of the model were made with; 224 where it has none."""
        import timm

        known = timm.get_pretrained_cfg(name.removeprefix(f"{self.prefix}:"))
        return super().image_size(name) if known is None else int(known.input_size[-1])
