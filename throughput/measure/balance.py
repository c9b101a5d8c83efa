"""What the loader alone, the model alone and both together say of each other: arithmetic, no judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from throughput.results import Row

FINISH = "finish"
"""The stage in which ``feed`` makes batches ready: transfer, uint8 to float, normalising, memory format."""

NEAR = 0.9
"""Rates whose ratio is at least this are alike: passes of one loader differ by a few per cent, and the median
of three passes of two such rates would be told apart by chance if the bound were much closer to 1."""
BUSY = 0.85
"""Cores are busy from this share on: ends of passes and the harness itself leave a few per cent idle."""

_TAKE_TURNS = 0.5
"""Overlap efficiency below which loader and model are said to take turns."""
_HALF, _NO_MORE = 0.5, 0.8
"""Where other processes hold cores, what is left changes by the minute."""


@dataclass(frozen=True)
class Balance:
    """The figures of one row.

    load, model, train: median images/s of the loader alone, the model alone and both together, above 0.
    cores: usable ones. on_gpu: the model's device is a GPU. decodes_on_gpu: the loader's is. wait_fraction:
    share of the training in which the model waited for a batch, 0..1. cpu_utilisation, load_cpu_utilisation,
    model_cpu_utilisation: 0..1 of the cores, in training, of the loader alone and of the model alone; None
    where not measured. finish_seconds: for an image, of one core or of the GPU; None where not timed.
    activity: what both together do, in a word.
    """

    load: float
    model: float
    train: float
    cores: int
    on_gpu: bool = False
    decodes_on_gpu: bool = False
    wait_fraction: float = 0.0
    cpu_utilisation: float | None = None
    load_cpu_utilisation: float | None = None
    model_cpu_utilisation: float | None = None
    finish_seconds: float | None = None
    activity: str = "training"

    @property
    def share(self) -> float:
        """Training rate over the model's own."""
        return self.train / self.model

    @property
    def alike(self) -> bool:
        """Loader and model are equally fast."""
        return NEAR <= self.load / self.model <= 1 / NEAR

    @property
    def short_of_both(self) -> bool:
        """Training is slower than the loader alone and than the model alone."""
        return self.train < NEAR * min(self.load, self.model)

    @property
    def overlap_efficiency(self) -> float:
        """1: the shorter of loading and computing is hidden behind the longer; 0: they take turns.

        (serial - actual) / (serial - ideal) time for an image, within 0..1; serial - ideal is the shorter of
        the two. As IMB-NBC defines overlap (Intel MPI Benchmarks, User Guide, "Measuring Communication and
        Computation Overlap").
        """
        saved_seconds = 1 / self.load + 1 / self.model - 1 / self.train
        return min(1.0, max(0.0, saved_seconds * max(self.load, self.model)))

    @property
    def takes_turns(self) -> bool:
        """Loader and model hardly overlap, though neither slows the other down."""
        return self.short_of_both and self.overlap_efficiency < _TAKE_TURNS and not self.steps_are_slowed

    @property
    def step_slowdown(self) -> float:
        """How many times as long as alone a step takes in training, waiting left out."""
        return (1 - self.wait_fraction) / self.share

    @property
    def steps_are_slowed(self) -> bool:
        """Steps take longer in training than alone."""
        return self.step_slowdown > 1 / NEAR

    @property
    def cores_are_busy(self) -> bool:
        """The cores have nothing left to give in training.

        They are all busy; or both together get hardly more of them than one alone, more than half, and the
        steps are slowed down: then other processes hold the rest. Where nobody looked at the cores, slowed
        steps on a CPU must do.
        """
        if self.cpu_utilisation is None:
            return not self.on_gpu and self.steps_are_slowed
        alone = max(self.load_cpu_utilisation or 0, self.model_cpu_utilisation or 0)
        crowded_out = _HALF <= alone <= self.cpu_utilisation / _NO_MORE and self.steps_are_slowed
        return self.cpu_utilisation >= BUSY or crowded_out

    @property
    def contended(self) -> bool:
        """Loader and model share the cores, and there are not enough for both."""
        return not self.on_gpu and self.short_of_both and self.cores_are_busy

    @property
    def shares_the_gpu(self) -> bool:
        """Loader and model both work on the GPU, and there is not enough of it for both."""
        return self.on_gpu and self.decodes_on_gpu and self.short_of_both and self.steps_are_slowed

    @property
    def transfer_limits(self) -> bool:
        """Transfer to the GPU and finishing are what limits the loader, and the model could take more."""
        if not self.on_gpu or not self.finish_seconds:
            return False
        finish = 1 / self.finish_seconds
        return finish * NEAR <= self.load and finish < self.model

    def expected(self, load_factor: float = 1.0, model_factor: float = 1.0, cpu_factor: float = 1.0) -> float:
        """Images/s in training where both overlap wholly and nothing but the cores is shared.

        That is the lowest of three: the loader's rate times ``load_factor``; the model's times
        ``model_factor``, where a CPU also finishes batches in between; and what the cores have time for,
        where an image costs the CPU time that it costs alone, times ``cpu_factor`` in the loader and divided
        by ``model_factor`` in the model.
        """
        rates = [self.load * load_factor]
        model_seconds = 1 / (self.model * model_factor)
        if self.finish_seconds and not self.on_gpu:
            model_seconds += self.finish_seconds / self.cores
        rates.append(1 / model_seconds)
        if self.load_cpu_utilisation is not None and self.model_cpu_utilisation is not None:
            cpu = cpu_factor * self.load_cpu_utilisation / self.load
            cpu += self.model_cpu_utilisation / (self.model * model_factor)
            if cpu > 0:
                rates.append(1 / cpu)
        return min(rates)

    def predicted(
        self, load_factor: float = 1.0, model_factor: float = 1.0, cpu_factor: float = 1.0
    ) -> float:
        """``expected``, less what training falls short of it now."""
        reached = min(1.0, self.train / self.expected())
        return reached * self.expected(load_factor, model_factor, cpu_factor)


def balance_of(row: Row, work: Mapping[str, Any], cores: int) -> Balance | None:
    """The figures of a row; None where one of the three was not measured or delivered nothing."""
    if row.load is None or row.model is None or row.train is None:
        return None
    load, model, train = (phase.images_per_second.median for phase in (row.load, row.model, row.train))
    if min(load, model, train) <= 0:
        return None
    return Balance(
        load=load,
        model=model,
        train=train,
        cores=cores,
        on_gpu=str(work.get("device", "cpu")).startswith("cuda"),
        decodes_on_gpu=row.decode == "gpu",
        wait_fraction=min(1.0, max(0.0, row.train.wait_fraction)),
        cpu_utilisation=row.cpu_utilisation,
        load_cpu_utilisation=row.load_cpu_utilisation,
        model_cpu_utilisation=row.model_cpu_utilisation,
        finish_seconds=row.stages.get(FINISH),
        activity=str(work.get("activity", "training")),
    )
