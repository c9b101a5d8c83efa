"""NVML's numbers arrive in base units; what it does not support is None."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from throughput.measure.nvml import Gpu, GpuReading, NoNvmlError, list_gpus, nvml, open_gpu


class NVMLError(Exception):
    """As pynvml's."""


class FakeNvml:
    """The part of pynvml that is used, over one GPU whose handle is its UUID."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = "sm"
    NVML_CLOCK_MEM = "mem"

    def __init__(self) -> None:
        self.opened = 0
        self.used_bytes = 500
        self.energy_millijoules = 2500
        self.processes: list[SimpleNamespace] = []
        self.unsupported: set[str] = set()

    def __getattribute__(self, name: str) -> object:
        if name.startswith("nvml") and name in self.unsupported:
            raise NVMLError(f"{name}: Not Supported")
        return super().__getattribute__(name)

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.1"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, _index: int) -> str:  # noqa: N802
        return "GPU-abc"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != "GPU-abc":
            raise NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetName(self, _handle: str) -> str:  # noqa: N802
        return "Abacus"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetMemoryInfo(self, _handle: str) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=self.used_bytes, total=1000)

    def nvmlDeviceGetClockInfo(self, _handle: str, clock: str) -> int:  # noqa: N802
        return {"sm": 900, "mem": 2600}[clock]

    def nvmlDeviceGetMaxClockInfo(self, _handle: str, _clock: str) -> int:  # noqa: N802
        return 1800

    def nvmlDeviceGetPowerManagementLimit(self, _handle: str) -> int:  # noqa: N802
        return 300_000

    def nvmlDeviceGetUtilizationRates(self, _handle: str) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=75, memory=10)

    def nvmlDeviceGetJpgUtilization(self, _handle: str) -> list[int]:  # noqa: N802
        return [40, 166_667]

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: str) -> int:  # noqa: N802
        return self.energy_millijoules

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: str) -> list[SimpleNamespace]:  # noqa: N802
        return self.processes


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    library = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library


def test_gpus_are_listed(fake: FakeNvml) -> None:
    assert list_gpus() == (Gpu("Abacus", "GPU-abc", "580.1", 1000, 900, 1800, 2600, 300.0),)
    assert fake.opened == 0


def test_what_is_not_supported_is_none(fake: FakeNvml) -> None:
    fake.unsupported = {
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetMaxClockInfo",
        "nvmlDeviceGetPowerManagementLimit",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetJpgUtilization",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetComputeRunningProcesses",
    }
    assert list_gpus() == (Gpu("Abacus", "GPU-abc", "580.1", None, None, None, None, None),)
    with open_gpu("GPU-abc") as read:
        assert read is not None
        assert read({1}) == GpuReading()


@pytest.mark.parametrize("uuid", ["GPU-abc", "abc"])
def test_a_reading_is_in_base_units(fake: FakeNvml, uuid: str) -> None:
    with open_gpu(uuid) as read:
        assert read is not None
        assert fake.opened == 1
        assert read({1}) == GpuReading(0.75, 0.4, 0, 2.5)
    assert fake.opened == 0


def test_memory_of_the_processes_asked_about(fake: FakeNvml) -> None:
    fake.processes = [SimpleNamespace(pid=pid, usedGpuMemory=10 * pid) for pid in (1, 2, 3)]
    with open_gpu("abc") as read:
        assert read is not None
        fake.used_bytes = 9999
        assert read({1, 3}).memory_bytes == 40


def test_memory_that_is_not_told_by_process_is_what_the_device_uses_more(fake: FakeNvml) -> None:
    fake.processes = [
        SimpleNamespace(pid=1, usedGpuMemory=None),
        SimpleNamespace(pid=70001, usedGpuMemory=50),
    ]
    with open_gpu("abc") as read:
        assert read is not None
        fake.used_bytes = 800
        assert read({1, 3}).memory_bytes == 300
        fake.used_bytes = 100
        assert read({1, 3}).memory_bytes == 0


def test_an_unknown_gpu_is_absent(fake: FakeNvml) -> None:
    with open_gpu("xyz") as read:
        assert read is None
    assert fake.opened == 0


def test_no_driver(fake: FakeNvml) -> None:
    fake.unsupported = {"nvmlInit"}
    with pytest.raises(NoNvmlError, match="no NVIDIA driver"), nvml():
        pass
    with open_gpu("abc") as read:
        assert read is None


def test_no_pynvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NoNvmlError, match="pip install nvidia-ml-py"):
        list_gpus()


def test_a_failure_inside_comes_out_and_closes(fake: FakeNvml) -> None:
    with pytest.raises(ZeroDivisionError), open_gpu("abc"):
        _ = 1 / 0
    assert fake.opened == 0
