"""torchvision's models by name: logits and nothing else, for grey and for RGB."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch
from torchvision import models

from throughput.models.zoo import TorchvisionModels, diagnose

FAMILIES = (
    "alexnet", "convnext_tiny", "efficientnet_b0", "googlenet", "inception_v3", "mnasnet0_5", "mobilenet_v2",
    "mobilenet_v3_small", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t",
    "vgg11_bn", "vit_b_16",
)  # fmt: skip


def test_names_are_the_classification_models_and_no_others() -> None:
    names = TorchvisionModels().names()
    assert {*FAMILIES} <= set(names)
    assert not [name for name in names if name.startswith(("fcos", "raft", "lraspp", "r3d", "quantized"))]
    assert set(names) == set(models.list_models(module=models))


@pytest.mark.parametrize(
    ("name", "channels"),
    [*((name, 1) for name in FAMILIES), ("googlenet", 3), ("inception_v3", 3), ("resnet18", 3)],
)
def test_a_training_model_maps_images_to_logits(name: str, channels: int) -> None:
    # On the meta device shapes are computed and numbers are not: that takes milliseconds.
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("error")
        model = TorchvisionModels().build(name, 7, channels).train()
        logits = model(torch.empty(2, channels, 224, 224))
    assert logits.shape == (2, 7)


def test_one_channel_changes_the_first_convolution_only() -> None:
    grey, colour = (TorchvisionModels().build("resnet18", 10, channels) for channels in (1, 3))
    differ = [
        name
        for (name, one), other in zip(grey.named_parameters(), colour.parameters(), strict=True)
        if one.shape != other.shape
    ]
    assert differ == ["conv1.weight"]
    assert grey.conv1.weight.shape == (64, 1, 7, 7)
    assert (grey.conv1.stride, grey.conv1.padding) == ((2, 2), (3, 3))


def test_models_start_untrained_and_differ_by_seed() -> None:
    def first_weight(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return TorchvisionModels().build("squeezenet1_1", 3, 3).features[0].weight

    assert torch.equal(first_weight(0), first_weight(0))
    assert not torch.equal(first_weight(0), first_weight(1))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="resnet19"):
        TorchvisionModels().build("resnet19", 10, 3)


def test_a_torchvision_that_does_not_import_is_diagnosed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    (finding,) = diagnose()
    assert finding.problem
    assert "pip install" in str(finding.cure)
