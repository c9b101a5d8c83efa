"""Which number format is chosen where."""

from __future__ import annotations

import pytest
import torch

from throughput.errors import OptionError
from throughput.training.precision import choose_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")]
)
def test_what_is_asked_for_is_taken_on_any_device(precision: str, dtype: str) -> None:
    assert choose_dtype(precision, CPU) == choose_dtype(precision, torch.device("cuda")) == dtype


@pytest.mark.parametrize("precision", ["float32", "FP16", "", "int8"])
def test_an_unknown_precision_names_the_known(precision: str) -> None:
    with pytest.raises(OptionError, match="--precision must be auto, fp32, bf16, fp16; got"):
        choose_dtype(precision, CPU)


def test_auto_on_a_cpu_is_float32() -> None:
    assert choose_dtype("auto", CPU) == "float32"


@pytest.mark.parametrize(("native", "dtype"), [(True, "bfloat16"), (False, "float16")])
def test_auto_on_a_gpu_is_bfloat16_where_it_is_not_emulated(
    native: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_dtype("auto", torch.device("cuda")) == dtype
