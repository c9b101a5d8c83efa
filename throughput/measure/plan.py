"""What one loader's measurement is: everything that the measuring process needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from throughput.contracts import Work
from throughput.errors import OptionError
from throughput.measure.budget import Budget
from throughput.results import PhaseName

PHASES: tuple[PhaseName, ...] = ("load", "model", "train")


@dataclass(frozen=True)
class Plan:
    """loader: a registered name or ``package.module:attribute``. options: the loader's own, by name."""

    loader: str
    work: Work
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    phases: tuple[PhaseName, ...] = PHASES
    budget: Budget = field(default_factory=Budget)
    compile: bool = False

    def __post_init__(self) -> None:
        require_phases(self.phases)


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
        "phases": list(plan.phases),
        "budget": asdict(plan.budget),
    }
