"""What is to be done for one loader: everything that a measuring process needs to know."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from throughput.contracts import Work
from throughput.errors import OptionError
from throughput.measure.budget import Budget
from throughput.results import Certificate, PhaseName, Row

if TYPE_CHECKING:
    from throughput.measure.consumer import Consumer
    from throughput.measure.events import Tell

PHASES: tuple[PhaseName, ...] = ("load", "model", "train")
CacheMode = Literal["any", "cold", "warm"]
CACHE_MODES: tuple[CacheMode, ...] = ("any", "cold", "warm")
_SLOW_MODULES = ("torchvision.datasets", "torchvision.transforms", "torchvision.transforms.v2")
"""Of those that pipelines are made of."""


class Task(Protocol):
    """What a fresh process is to do. Picklable.

    needs: modules that are imported before the fork: it takes a while, and each task of its kind needs them.
    """

    @property
    def needs(self) -> tuple[str, ...]: ...

    def carry_out(self, tell: Tell) -> None:
        """Do it and tell of it; the last event is Finished, whatever went wrong."""

    def failed(self, reason: str) -> object:
        """What comes of it where its process dies without a word."""


@dataclass(frozen=True)
class Plan:
    """How one loader is measured.

    loader: a registered name or ``package.module:attribute``. options: the loader's own, by name.
    cache: the state that the page cache must be in before each pass; ``any`` leaves it as it is.
    model: what is trained, or the name of ``consumer``. consumer: what takes the batches, where that is not
    the training of ``model``; every image is then timed, made as held-out ones are. judge_all: the accuracy
    is that of every image, too, and not of those held out.
    """

    loader: str
    work: Work
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    phases: tuple[PhaseName, ...] = PHASES
    budget: Budget = field(default_factory=Budget)
    compile: bool = False
    cache: CacheMode = "any"
    consumer: Consumer | None = None
    judge_all: bool = False

    def __post_init__(self) -> None:
        require_phases(self.phases)
        if self.cache not in CACHE_MODES:
            raise OptionError(f"--cache must be one of {', '.join(CACHE_MODES)}, got {self.cache!r}")


@dataclass(frozen=True)
class Block:
    """One round of a plan: one pass of each phase, in a process of its own.

    number: of the round, from 0. first_epoch: the first one that no earlier block has touched. state: the
    file in which training is carried from block to block. last: the accuracy is measured at its end. group:
    the name under which the measuring processes of all ranks join; None: there is one. clock: the file that
    tells for how long the process has stood still (``StoodStill``), where another one stops it now and then;
    it then tells when it is about to measure, and waits.
    """

    plan: Plan
    number: int
    first_epoch: int
    state: Path
    last: bool
    group: str | None = None
    clock: Path | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """What normalises on a CPU; what torch's optimisers import; of what somebody's own pipeline has made
        this process import, the slow part.
        """
        plan = self.plan
        on_cpu = plan.work.device == "cpu"
        has_optimiser = plan.consumer is None and plan.phases != ("load",)
        return (
            *(("throughput.measure.warm",) if on_cpu else ()),
            *(("torch._dynamo",) if has_optimiser else ()),
            *(name for name in _SLOW_MODULES if ":" in plan.loader and name in sys.modules),
        )

    def carry_out(self, tell: Tell) -> None:
        """Measure."""
        from throughput.measure.block import measure_block

        measure_block(self, tell)

    def failed(self, reason: str) -> Row:
        """A row that says why."""
        return Row(self.plan.loader, "failed", reason)


@dataclass(frozen=True)
class Certification:
    """Certify a loader. data: look at the work's own images too. recertify: whatever an earlier run said."""

    loader: str
    options: dict[str, Any]
    work: Work
    data: bool
    recertify: bool

    needs: ClassVar[tuple[str, ...]] = ("throughput.measure.certify", "torchvision.transforms")

    def carry_out(self, tell: Tell) -> None:
        """Certify."""
        from throughput.measure.certify import certify

        certify(self, tell)

    def failed(self, reason: str) -> Certificate:
        """A certificate that says why there is none."""
        return Certificate(None, reason=reason)


def require_phases(phases: Sequence[str]) -> None:
    """Raise OptionError unless ``phases`` are some of PHASES."""
    if not phases or any(phase not in PHASES for phase in phases):
        raise OptionError(f"--phases must be some of {', '.join(PHASES)}, got {', '.join(phases) or 'none'}")


def describe_work(plan: Plan) -> dict[str, Any]:
    """The work for the JSON results: what must be equal for two runs to be compared."""
    work, source = plan.work, plan.work.source
    described = {name: value for name, value in vars(work).items() if name not in ("source", "split")}
    return described | {
        "source": source.location,
        "source_fingerprint": source.fingerprint,
        "classes": len(source.classes),
        "train_images": len(source.ids("train")),
        "val_images": len(source.ids("val")),
        "augmentation": asdict(work.augmentation),
        "model": plan.model,
        "compile": plan.compile,
        "cache": plan.cache,
        "phases": list(plan.phases),
        "budget": asdict(plan.budget),
    }
