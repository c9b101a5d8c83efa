"""timm's models, by their prefix only."""

from __future__ import annotations

import sys

import pytest
import torch

from throughput import registry
from throughput.errors import UnknownNameError
from throughput.models.timm_zoo import TimmModels


def test_a_name_with_the_prefix_reaches_timm() -> None:
    pytest.importorskip("timm")
    family = registry.load_model_family_for("timm:resnet10t")
    assert isinstance(family, TimmModels)
    with torch.device("meta"):
        model = family.build("timm:resnet10t", 7, 1).train()
        assert model(torch.empty(2, 1, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize(("name", "size"), [("vit_base_patch16_384", 384), ("resnet18", 224)])
def test_the_image_size_is_that_of_timms_weights(name: str, size: int) -> None:
    pytest.importorskip("timm")
    assert TimmModels().image_size(f"timm:{name}") == size


def test_an_unknown_name_offers_the_nearest() -> None:
    pytest.importorskip("timm")
    with pytest.raises(UnknownNameError, match="did you mean 'timm:resnet18'"):
        registry.load_model_family_for("timm:resnet19")


def test_other_names_never_look_into_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    def imported(_: TimmModels) -> tuple[str, ...]:
        raise AssertionError("timm was asked")

    monkeypatch.setattr(TimmModels, "names", imported)
    registry.load_model_family_for("resnet18")
    with pytest.raises(UnknownNameError, match="no model is called 'resnet10tt'"):
        registry.load_model_family_for("resnet10tt")


def test_without_timm_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnknownNameError, match="pip install timm"):
        registry.load_model_family_for("timm:resnet18")


def test_what_is_no_family_is_a_module_still() -> None:
    family = registry.load_model_family_for("throughput.testing:sleep_10ms")
    assert family.names() == ("throughput.testing:sleep_10ms",)
