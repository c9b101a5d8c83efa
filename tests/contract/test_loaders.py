"""Every loader inherits one contract."""

from __future__ import annotations

from throughput.registry import load_loader
from throughput.testing import LoaderContract


class TestTorchvision(LoaderContract):
    factory = load_loader("torchvision")


class TestWebDataset(LoaderContract):
    factory = load_loader("webdataset")
    order_depends_on_workers = True


class TestDali(LoaderContract):
    factory = load_loader("dali")
