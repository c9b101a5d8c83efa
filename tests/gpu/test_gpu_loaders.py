"""The loaders' contract once more, with the device a GPU; DALI and roi decode there too."""

from __future__ import annotations

from throughput.loaders.dali import DaliOptions
from throughput.loaders.roi import RoiOptions
from throughput.registry import load_loader
from throughput.testing import LoaderContract


class TestTorchvisionOnGpu(LoaderContract):
    factory = load_loader("torchvision")
    device = "cuda:0"


class TestDaliOnGpu(LoaderContract):
    factory = load_loader("dali")
    device = "cuda:0"
    # nvJPEG's inverse transform and chroma upsampling round otherwise than libjpeg-turbo's.
    largest_mean_error = 2.0


class TestDaliOnGpuDecodingOnCpu(LoaderContract):
    factory = load_loader("dali")
    options = DaliOptions(decode="cpu")
    device = "cuda:0"


class TestRoiOnGpu(LoaderContract):
    factory = load_loader("roi")
    device = "cuda:0"


class TestRoiOnGpuDecodingThere(LoaderContract):
    factory = load_loader("roi")
    options = RoiOptions(decode="gpu")
    device = "cuda:0"
    largest_mean_error = 2.0
