"""Which number format a training step computes in."""

from __future__ import annotations

from typing import Literal

import torch

from throughput.contracts import ComputeDtype
from throughput.errors import OptionError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: dict[str, ComputeDtype] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def choose_dtype(precision: str, device: torch.device) -> ComputeDtype:
    """The dtype for ``--precision``; ``auto`` takes the fastest that trains as well as float32.

    That is bfloat16 on a GPU that computes in it, float16 with gradient scaling on an older one, and float32
    on a CPU: there torch leaves uninitialised memory in a bfloat16 gradient wherever a part of a kernel meets
    nothing but padding (seen in torch 2.14: 3x3 with stride 2 on one pixel). Raises OptionError.
    """
    if precision in PRECISIONS:
        return PRECISIONS[precision]
    if precision != "auto":
        raise OptionError(f"--precision must be auto, {', '.join(PRECISIONS)}; got {precision!r}")
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "float32"
