"""What could be tried on this machine beside what was measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from throughput.contracts import LoaderFactory, Work
from throughput.measure.suggestions import Possible
from throughput.options import build_options
from throughput.registry import missing_requirements


def possible_here(work: Work, loaders: Iterable[LoaderFactory]) -> Possible:
    """loaders: all that are registered and can be loaded."""
    import torch

    from throughput.training.precision import choose_dtype

    dtype = choose_dtype("auto", torch.device(work.device))
    decoding = tuple(factory.name for factory in loaders if _decodes_on_the_gpu(factory, work))
    return Possible(dtype, decoding, _can_compile(work.device))


def _decodes_on_the_gpu(factory: LoaderFactory, work: Work) -> bool:
    """Whether it would, and can here."""
    if missing_requirements(factory) or factory.why_not(work):
        return False
    return factory.decode(work, build_options(factory, {})) == "gpu"


def _can_compile(device: str) -> bool:
    """On a GPU Triton compiles; on a CPU torch.compile calls a C++ compiler, which may be absent."""
    compilers = (os.environ.get("CXX", "g++"), "g++", "clang++")
    return device.startswith("cuda") or any(shutil.which(compiler) for compiler in compilers)
