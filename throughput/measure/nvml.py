"""What the NVIDIA driver tells about GPUs, through NVML; every number is None where it tells nothing.

pynvml raises NVMLError for whatever a GPU, a driver or a MIG slice does not support.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class NoNvmlError(Exception):
    """NVML cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Gpu:
    """One GPU. Clocks are those of this moment: an idle GPU clocks down."""

    name: str
    uuid: str
    driver: str | None
    memory_bytes: int | None
    sm_clock_mhz: int | None
    sm_clock_max_mhz: int | None
    memory_clock_mhz: int | None
    power_limit_watts: float | None


@dataclass(frozen=True)
class GpuReading:
    """A GPU at one moment; energy_joules counts from an arbitrary start.

    utilisation: 0..1, share of NVML's last sample period (1/6 s to 1 s) in which any kernel ran: coarse.
    jpeg_utilisation: 0..1, the same of the JPEG decoding engine.
    memory_bytes: of the processes asked about, else what the whole device uses more than at the start.
    """

    utilisation: float | None = None
    jpeg_utilisation: float | None = None
    memory_bytes: int | None = None
    energy_joules: float | None = None


GpuReader = Callable[[Set[int]], GpuReading]
"""Reads one GPU, given the process ids whose memory is asked for."""


@contextmanager
def nvml() -> Iterator[Any]:
    """The pynvml module, initialised. Raises NoNvmlError: no pynvml, no driver."""
    try:
        import pynvml
    except ImportError as error:
        raise NoNvmlError("pynvml is not installed: pip install nvidia-ml-py") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoNvmlError(f"no NVIDIA driver: {error}") from error
    try:
        yield pynvml
    finally:
        _ask(pynvml, "nvmlShutdown")


def list_gpus() -> tuple[Gpu, ...]:
    """All GPUs that the driver shows, CUDA_VISIBLE_DEVICES or not. Raises NoNvmlError."""
    with nvml() as library:
        driver = _ask(library, "nvmlSystemGetDriverVersion")
        count = _ask(library, "nvmlDeviceGetCount") or 0
        handles = [_ask(library, "nvmlDeviceGetHandleByIndex", index) for index in range(count)]
        return tuple(_describe(library, handle, driver) for handle in handles if handle is not None)


@contextmanager
def open_gpu(uuid: str) -> Iterator[GpuReader | None]:
    """A reader of one GPU, or None where there is none to read.

    uuid: with or without the ``GPU-`` that torch leaves out. Indices would not do: NVML's ignore
    CUDA_VISIBLE_DEVICES.
    """
    try:
        with nvml() as library:
            spellings = (uuid, f"GPU-{uuid}", f"MIG-{uuid}")
            handles = (_ask(library, "nvmlDeviceGetHandleByUUID", spelling) for spelling in spellings)
            handle = next((handle for handle in handles if handle is not None), None)
            yield None if handle is None else _reader(library, handle)
    except NoNvmlError:
        yield None


def _reader(library: Any, handle: Any) -> GpuReader:
    used_at_start = _memory(library, handle, "used")

    def read(pids: Set[int]) -> GpuReading:
        rates = _ask(library, "nvmlDeviceGetUtilizationRates", handle)
        jpeg = _ask(library, "nvmlDeviceGetJpgUtilization", handle)
        energy = _ask(library, "nvmlDeviceGetTotalEnergyConsumption", handle)
        return GpuReading(
            utilisation=None if rates is None else rates.gpu / 100,
            jpeg_utilisation=None if jpeg is None else jpeg[0] / 100,
            memory_bytes=_memory_of(library, handle, pids, used_at_start),
            energy_joules=None if energy is None else energy / 1000,
        )

    return read


def _memory_of(library: Any, handle: Any, pids: Set[int], used_at_start: int | None) -> int | None:
    processes = _ask(library, "nvmlDeviceGetComputeRunningProcesses", handle) or ()
    used_by_process = [
        int(process.usedGpuMemory)
        for process in processes
        if process.pid in pids and process.usedGpuMemory is not None
    ]
    if used_by_process:
        return sum(used_by_process)
    # In a container the driver may tell the host's process ids, none of which is ours.
    used = _memory(library, handle, "used")
    return None if used is None or used_at_start is None else max(0, used - used_at_start)


def _describe(library: Any, handle: Any, driver: str | None) -> Gpu:
    limit_milliwatts = _ask(library, "nvmlDeviceGetPowerManagementLimit", handle)
    return Gpu(
        name=_ask(library, "nvmlDeviceGetName", handle) or "unknown",
        uuid=_ask(library, "nvmlDeviceGetUUID", handle) or "unknown",
        driver=driver,
        memory_bytes=_memory(library, handle, "total"),
        sm_clock_mhz=_ask(library, "nvmlDeviceGetClockInfo", handle, library.NVML_CLOCK_SM),
        sm_clock_max_mhz=_ask(library, "nvmlDeviceGetMaxClockInfo", handle, library.NVML_CLOCK_SM),
        memory_clock_mhz=_ask(library, "nvmlDeviceGetClockInfo", handle, library.NVML_CLOCK_MEM),
        power_limit_watts=None if limit_milliwatts is None else limit_milliwatts / 1000,
    )


def _memory(library: Any, handle: Any, field: str) -> int | None:
    memory = _ask(library, "nvmlDeviceGetMemoryInfo", handle)
    return None if memory is None else int(getattr(memory, field))


def _ask(library: Any, function: str, *arguments: Any) -> Any:
    """What an NVML function answers; None where the GPU, the driver or pynvml does not support it."""
    try:
        return getattr(library, function)(*arguments)
    except (library.NVMLError, AttributeError):
        return None
