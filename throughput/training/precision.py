"""Which number format a training step computes in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from throughput.contracts import ComputeDtype
from throughput.errors import OptionError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: dict[str, ComputeDtype] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

_CPU_BF16_FLAGS = ("avx512_bf16", "amx_bf16")
"""Without one of these a CPU emulates bfloat16 and is slower than in float32."""


def choose_dtype(precision: str, device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> ComputeDtype:
    """The dtype for ``--precision``; ``auto`` takes the fastest that trains as well as float32.

    That is bfloat16 where the device computes in it, float16 with gradient scaling on an older GPU, and
    float32 elsewhere. Raises OptionError.
    """
    if precision in PRECISIONS:
        return PRECISIONS[precision]
    if precision != "auto":
        raise OptionError(f"--precision must be auto, {', '.join(PRECISIONS)}; got {precision!r}")
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    try:
        flags = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        flags = ""
    return "bfloat16" if any(flag in flags for flag in _CPU_BF16_FLAGS) else "float32"
