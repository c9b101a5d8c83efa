"""Every loader inherits one contract."""

from __future__ import annotations

from throughput.loaders.roi import RoiOptions
from throughput.registry import load_loader
from throughput.testing import LoaderContract


class TestTorchvision(LoaderContract):
    factory = load_loader("torchvision")


class TestWebDataset(LoaderContract):
    factory = load_loader("webdataset")
    order_depends_on_workers = True


class TestDali(LoaderContract):
    factory = load_loader("dali")


class TestRoi(LoaderContract):
    factory = load_loader("roi")


class TestRoiInProcesses(LoaderContract):
    factory = load_loader("roi")
    options = RoiOptions(processes=2)


class TestRoiStreaming(LoaderContract):
    factory = load_loader("roi")
    options = RoiOptions(order="stream", shuffle=5)


class TestRoiOverWhatItIsGiven(LoaderContract):
    """Nothing is packed: unprepared JPEGs and other formats are decoded whole."""

    factory = load_loader("roi")
    options = RoiOptions(prepare=False)
