"""One way to run a loader: how many workers, in batches of what size, with which of its own options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from throughput.measure.plan import Plan


@dataclass(frozen=True)
class Configuration:
    """options: the loader's own that are searched. held_bytes: what its batches take, by estimate."""

    workers: int
    batch_size: int
    options: tuple[tuple[str, Any], ...] = ()
    held_bytes: int = field(default=0, compare=False)

    @property
    def settings(self) -> dict[str, Any]:
        """All of it by the names that messages use."""
        return {"workers": self.workers, "batch": self.batch_size, **dict(self.options)}

    @property
    def words(self) -> str:
        """For messages: ``workers 4, batch 64, prefetch 2``."""
        return ", ".join(f"{name} {value}" for name, value in self.settings.items())

    def differing(self, other: Configuration) -> tuple[str, ...]:
        """Names of the settings in which the two differ."""
        ours, theirs = self.settings, other.settings
        names = dict.fromkeys((*ours, *theirs))
        return tuple(name for name in names if ours.get(name) != theirs.get(name))

    def applied(self, plan: Plan) -> Plan:
        """The plan, run this way."""
        work = replace(plan.work, workers=self.workers, batch_size=self.batch_size)
        return replace(plan, work=work, options=plan.options | dict(self.options))
