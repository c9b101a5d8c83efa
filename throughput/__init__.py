"""Which input pipeline keeps this model busy, on this data, on this machine, and what limits it?

From Python::

    with throughput.open_loader("dali", data="photos/", batch_size=256) as loader:
        for images, labels, ids in loader.epoch(0):
            ...
    results = throughput.bench(["torchvision", "dali"], data="photos/", batch_size=256)
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from throughput.api import bench as bench
    from throughput.api import open_loader as open_loader
    from throughput.contracts import Augmentation as Augmentation
    from throughput.contracts import Batch as Batch
    from throughput.contracts import Work as Work
    from throughput.tuning.api import tune as tune

__version__ = "0.1.0"
__all__ = ["Augmentation", "Batch", "Work", "__version__", "bench", "open_loader", "tune"]

# loaders/, models/ and reports/ stand beside this folder in a checkout and inside it in a wheel.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))

_HOME = {
    "bench": "throughput.api",
    "open_loader": "throughput.api",
    "tune": "throughput.tuning.api",
    "Augmentation": "throughput.contracts",
    "Batch": "throughput.contracts",
    "Work": "throughput.contracts",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that ``import throughput`` needs no torch."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'throughput' has no attribute {name!r}")
