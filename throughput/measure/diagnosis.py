"""What ``doctor`` looks at on this machine: each check is a function that yields findings."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from throughput.cache import CACHE_LIMIT_BYTES, cache_folder
from throughput.errors import ThroughputError
from throughput.measure import environment
from throughput.measure.environment import Finding
from throughput.measure.nvml import Gpu, NoNvmlError, list_gpus

SHM_LEAST_BYTES = 10**9
"""Workers hand batches over in /dev/shm: 256 float32 images of 224 x 224 are 0.15 GB, and several wait."""

TORCH_PAIR = "pip install --force-reinstall torch torchvision, both from the default index"


def cores() -> Iterable[Finding]:
    """Usable cores, and whether libraries that count cores will count too many."""
    online, affine, usable = os.cpu_count() or 1, environment.affine_cores(), environment.usable_cores()
    quota = environment.cpu_quota_cores()
    limit = "no cgroup quota" if quota is None else f"cgroup quota {quota:g}"
    problem = cure = None
    if usable < affine:
        problem = f"thread pools are sized for {affine} cores and are throttled to the time of {usable}"
        cure = f"set OMP_NUM_THREADS={usable}, or limit the container by --cpuset-cpus instead of --cpus"
    yield Finding("cores", f"{usable} usable of {online} online (affinity {affine}, {limit})", problem, cure)


def memory() -> Iterable[Finding]:
    """Memory within cgroup limits."""
    yield Finding("memory", _gigabytes(environment.usable_memory_bytes()))


def shared_memory(folder: Path = environment.SHM) -> Iterable[Finding]:
    """Room in /dev/shm."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        yield Finding(str(folder), "none")
        return
    problem = cure = None
    if usage.free < SHM_LEAST_BYTES:
        problem = "worker processes hand batches over in it: without room they die of a bus error"
        cure = "docker run --shm-size=8g (Kubernetes: an emptyDir with medium: Memory on /dev/shm)"
    value = f"{_gigabytes(usage.total)}, {_gigabytes(usage.free)} free"
    yield Finding(str(folder), value, problem, cure)


def gpus() -> Iterable[Finding]:
    """GPUs and their driver; none is no problem."""
    found, reason = _gpus()
    if not found:
        yield Finding("GPU", f"no GPU: CPU pipelines are measured ({reason})")
    for gpu in found:
        room = "memory unknown" if gpu.memory_bytes is None else _gigabytes(gpu.memory_bytes)
        yield Finding("GPU", f"{gpu.name}, {room}, driver {gpu.driver or 'unknown'}, {gpu.uuid}")


def versions() -> Iterable[Finding]:
    """Python and the libraries that results depend on."""
    found = {"python": platform.python_version(), **environment.versions()}
    yield Finding("versions", ", ".join(f"{name} {version}" for name, version in found.items()))


def torch_cuda() -> Iterable[Finding]:
    """Whether torch can use the GPU that the driver shows: by using it."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "does not import", _one_line(error), TORCH_PAIR)
        return
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    found, _ = _gpus()
    if not found:
        yield Finding("torch", f"{torch.__version__}, {build}")
        return
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    problem = cure = None
    if not torch.version.cuda:
        problem, cure = "there is a GPU that this build cannot use", TORCH_PAIR
    elif not available:
        # torch says by a warning that a driver is too old.
        problem = "; ".join(_one_line(warning.message) for warning in told) or "torch sees no GPU"
        cure = (
            f"CUDA {torch.version.cuda} needs a newer driver than {found[0].driver}, "
            "or CUDA_VISIBLE_DEVICES hides the GPU"
        )
    else:
        try:
            torch.ones(1, device="cuda").add(1).item()
        except RuntimeError as error:
            problem, cure = _one_line(error), "install a torch that supports this GPU's architecture"
    yield Finding("torch", f"{torch.__version__}, {build}", problem, cure)


def cache() -> Iterable[Finding]:
    """Whether conversions have a place to go."""
    try:
        folder = cache_folder()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (ThroughputError, OSError) as error:
        yield Finding(
            "cache folder", "cannot be written", str(error), "set THROUGHPUT_CACHE to a folder that can be"
        )
        return
    free_bytes = shutil.disk_usage(folder).free
    problem = cure = None
    if free_bytes < CACHE_LIMIT_BYTES:
        problem = f"a conversion may take {_gigabytes(CACHE_LIMIT_BYTES)}"
        cure = "set THROUGHPUT_CACHE to a folder on a disk with more room"
    yield Finding("cache folder", f"{folder}, {_gigabytes(free_bytes)} free", problem, cure)


def compiler() -> Iterable[Finding]:
    """Whether torch.compile finds its compiler for CPUs."""
    name = os.environ.get("CXX", "g++")
    found = shutil.which(name)
    if found:
        yield Finding("C++ compiler", found)
    else:
        yield Finding("C++ compiler", f"no {name}", "torch.compile on a CPU needs one", "apt-get install g++")


def bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> Iterable[Finding]:
    """Whether the CPU computes in bfloat16 itself; elsewhere it is emulated, and no faster than float32."""
    try:
        words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        words = set()
    native = sorted(words & {"amx_bf16", "avx512_bf16", "bf16"})  # x86, x86, Arm
    yield Finding("CPU bfloat16", ", ".join(native) if native else "not native: emulated")


def jpeg() -> Iterable[Finding]:
    """Which JPEG decoder Pillow has."""
    version = environment.libjpeg_turbo_version()
    if version:
        yield Finding("Pillow's JPEG decoder", f"libjpeg-turbo {version}")
    else:
        yield Finding(
            "Pillow's JPEG decoder",
            "not libjpeg-turbo",
            "it decodes several times slower than the usual wheel",
            "pip install --force-reinstall --only-binary :all: pillow",
        )


CHECKS: tuple[Callable[[], Iterable[Finding]], ...] = (
    cores,
    memory,
    shared_memory,
    gpus,
    versions,
    torch_cuda,
    cache,
    compiler,
    bfloat16,
    jpeg,
)
"""All checks of the core, in the order in which they are told."""


def _gpus() -> tuple[tuple[Gpu, ...], str]:
    try:
        return list_gpus(), "the NVIDIA driver shows none"
    except NoNvmlError as error:
        return (), str(error)


def _gigabytes(amount_bytes: int) -> str:
    return f"{amount_bytes / 1e9:.1f} GB"


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
