"""Where a number comes from: processor, memory, GPUs, versions. And how much of it this process may use."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

import psutil

from throughput.command_line import command_line
from throughput.measure.nvml import NoNvmlError, list_gpus

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_MEMBERSHIP = Path("/proc/self/cgroup")
SHM = Path("/dev/shm")
RANK_CORES = "THROUGHPUT_RANK_CORES"
"""Holds how many cores are this process's own where ranks of one machine share them out."""

DISTRIBUTIONS = (
    "throughput",
    "torch",
    "torchvision",
    "nvidia-dali-cuda120",
    "nvidia-dali-cuda130",
    "webdataset",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "pillow",
)
"""Whose versions belong to a result, if installed."""


@dataclass(frozen=True)
class Finding:
    """One thing that ``doctor`` looked at; ``problem`` is None where all is well, ``cure`` is the way out."""

    name: str
    value: str
    problem: str | None = None
    cure: str | None = None


def environment() -> dict[str, Any]:
    """The provenance of a result, ready for JSON. Versions are read, nothing is imported for them.

    cores_usable and memory_bytes keep to the limits of affinity and cgroups; shm_bytes is the size of
    /dev/shm (None where there is none); gpus is empty with a gpu_absent_reason where NVML shows none;
    git_commit is of the current directory, with ``-dirty`` where tracked files differ from it, or None.
    """
    gpus, gpu_absent_reason = _gpus()
    return {
        "cpu_model": cpu_model(),
        "cores_online": os.cpu_count() or 1,
        "cores_usable": usable_cores(),
        "memory_bytes": usable_memory_bytes(),
        "shm_bytes": shm_bytes(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "libjpeg_turbo": libjpeg_turbo_version(),
        "gpus": gpus,
        "gpu_absent_reason": gpu_absent_reason,
        "git_commit": git_commit(Path.cwd()),
        "command_line": command_line(),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def usable_cores(cgroup_root: Path = CGROUP_ROOT, membership: Path = CGROUP_MEMBERSHIP) -> int:
    """How many cores this process may keep busy: the smaller of affinity and cgroup quota; at least 1.

    A quota of CPU time need not be whole: it is rounded to the nearest core. Of several ranks, its share.
    """
    if RANK_CORES in os.environ:
        return int(os.environ[RANK_CORES])
    quota = cpu_quota_cores(cgroup_root, membership)
    affine = affine_cores()
    return affine if quota is None else max(1, min(affine, int(quota + 0.5)))


def affine_cores() -> int:
    """How many cores the scheduler may place this process on (affinity and cpusets)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota_cores(cgroup_root: Path = CGROUP_ROOT, membership: Path = CGROUP_MEMBERSHIP) -> float | None:
    """The tightest cgroup quota on CPU time, in cores; None where there is none.

    Version 2: ``cpu.max``; version 1: ``cpu.cfs_quota_us`` over ``cpu.cfs_period_us``.
    """
    quotas: list[float] = []
    for folder in cgroup_folders("cpu", cgroup_root, membership):
        fields = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(fields) == 2 and fields[0] not in ("max", "-1"):
            quotas.append(int(fields[0]) / int(fields[1]))
    return min(quotas, default=None)


def usable_memory_bytes(cgroup_root: Path = CGROUP_ROOT, membership: Path = CGROUP_MEMBERSHIP) -> int:
    """The machine's memory, or the tightest cgroup limit on it."""
    limits = [int(psutil.virtual_memory().total)]
    for folder in cgroup_folders("memory", cgroup_root, membership):
        # Version 2, then version 1, whose "no limit" is a number beyond any memory.
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [int(word) for word in _words(folder / name) if word != "max"]
    return min(limits)


def shm_bytes(folder: Path = SHM) -> int | None:
    """Size of the shared memory that workers hand batches over in; None where there is none."""
    try:
        return shutil.disk_usage(folder).total
    except OSError:
        return None


def versions() -> dict[str, str]:
    """Version of each of DISTRIBUTIONS that is installed."""
    found: dict[str, str] = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def libjpeg_turbo_version() -> str | None:
    """Version of the libjpeg-turbo inside Pillow; None where Pillow has plain libjpeg, or is absent."""
    try:
        from PIL import features
    except ImportError:
        return None
    return features.version_feature("libjpeg_turbo") if features.check_feature("libjpeg_turbo") else None


def git_commit(folder: Path) -> str | None:
    """The commit that is checked out in ``folder``, with ``-dirty`` where tracked files differ from it.

    None outside a checkout, before its first commit and without git.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _gpus() -> tuple[list[dict[str, Any]], str | None]:
    try:
        gpus = [asdict(gpu) for gpu in list_gpus()]
    except NoNvmlError as error:
        return [], str(error)
    return gpus, None if gpus else "the NVIDIA driver shows no GPU"


def cgroup_folders(controller: str, cgroup_root: Path, membership: Path) -> Iterator[Path]:
    """The folders of this process's cgroup and of all above it, in which ``controller`` may be limited.

    /proc/self/cgroup has a line ``id:controllers:path`` for each hierarchy; version 2's names no
    controllers. In a container the path may be the host's, and absent here: what exists is read.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top = cgroup_root
        elif controller in controllers.split(","):
            top = cgroup_root / controller
        else:
            continue
        # Seen from inside a cgroup namespace, a path outside it starts with /..
        own = PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
        yield from (top / folder for folder in (own, *own.parents))


def _words(file: Path) -> list[str]:
    """The words in a file; none where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []
