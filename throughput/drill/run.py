"""Every loader over every fault, each cell in a fresh process that is ended when its time is over."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Timer

from throughput.contracts import ON_ERROR, OnError, Progress, Source, no_progress, require_count
from throughput.drill.cell import Cell, Delivered
from throughput.drill.copies import Copies, make_copies
from throughput.drill.found import Drill, Found
from throughput.drill.judging import judge
from throughput.drill.planting import FAULTS, Case, Fault, Planted, cases_of, plant
from throughput.errors import OptionError, UnknownNameError
from throughput.measure.events import Finished
from throughput.measure.nursery import Nursery
from throughput.registry import load_loader, loader_names

_BATCHES = 12
"""About as many batches an epoch: several lie between a fault and its end."""
_LEAST_BATCH, _MOST_BATCH = 4, 16


@dataclass(frozen=True)
class Settings:
    """How a drill is done.

    policies: what loaders are told to do with bad samples, one after another. share: of the samples that are
    hit by each fault. samples: that are copied, at most. size: side of the crops, in pixels.
    limit_seconds: a cell that takes longer hangs.
    """

    loaders: tuple[str, ...]
    faults: tuple[Fault, ...] = tuple(FAULTS.values())
    policies: tuple[OnError, ...] = ON_ERROR
    share: float = 0.02
    samples: int = 200
    size: int = 64
    workers: int = 2
    device: str = "cpu"
    seed: int = 0
    limit_seconds: float = 60.0

    def __post_init__(self) -> None:
        require_count("samples (--samples)", self.samples)
        require_count("workers (--workers)", self.workers)
        if not 0 < self.share <= 0.5:
            raise OptionError(f"share (--share) must lie above 0 and be 0.5 at most, got {self.share!r}")
        if self.limit_seconds <= 0:
            raise OptionError(f"limit_seconds (--limit) must be above 0, got {self.limit_seconds!r}")


def chosen_faults(names: str) -> tuple[Fault, ...]:
    """Faults from ``NAME,NAME`` or ``all``. Raises UnknownNameError with the known names."""
    if names == "all":
        return tuple(FAULTS.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    strange = [name for name in wanted if name not in FAULTS]
    if strange or not wanted:
        raise UnknownNameError(
            f"no fault is called {', '.join(strange or [names])!r}; known: {', '.join(FAULTS)}"
        )
    return tuple(FAULTS[name] for name in dict.fromkeys(wanted))


def chosen_policies(names: str) -> tuple[OnError, ...]:
    """Policies from ``NAME,NAME``. Raises OptionError."""
    known: dict[str, OnError] = {policy: policy for policy in ON_ERROR}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    strange = [name for name in wanted if name not in known]
    if strange or not wanted:
        raise OptionError(
            f"--on-error must be some of {', '.join(ON_ERROR)}, got {', '.join(strange or [names])!r}"
        )
    return tuple(known[name] for name in dict.fromkeys(wanted))


def drill(
    source: Source,
    settings: Settings,
    progress: Progress = no_progress,
    on_found: Callable[[Drill], None] = lambda _: None,
) -> Drill:
    """Put every fault into a copy of the source, and run every loader over it.

    ``on_found`` hears of all that is known after each cell. The copy lies in a temporary folder that is gone
    on leaving, by whatever way. Raises SourceError where too few images of the source are sound, and
    UnknownNameError.
    """
    for name in settings.loaders:
        _require_known(name)
    with tempfile.TemporaryDirectory(prefix="tp-drill-") as folder, Nursery() as nursery:
        room = Path(folder)
        copies = make_copies(source, room / "sound", settings.samples, settings.size, settings.seed, progress)
        known = Drill(source.location, len(copies.names), copies.left_out, settings.share, settings.seed)
        running = _Running(settings, copies, room / "case", nursery)
        cases = cases_of(settings.faults)
        for done, case in enumerate(cases):
            for loader, policy in _runs(case, settings):
                progress(f"drilling {loader}: {case.name} in {case.lies}, {policy}", done, len(cases))
                found = running.found(case, loader, policy)
                if found is None:
                    words = f"{case.name} in {case.lies}: no sample can have it there"
                    known = replace(known, not_planted=(*known.not_planted, words))
                    break
                known = replace(known, found=(*known.found, found))
                on_found(known)
            running.clear()
    return known


def _require_known(loader: str) -> None:
    """Raise UnknownNameError for a name that nobody registered, or that points at nothing."""
    try:
        load_loader(loader)
    except UnknownNameError:
        if loader not in loader_names():
            raise  # a registered one whose own package is broken is told of in its cells


def _runs(case: Case, settings: Settings) -> list[tuple[str, OnError]]:
    policies = settings.policies if case.depends else settings.policies[:1]
    return [(loader, policy) for loader in settings.loaders for policy in policies]


class _Running:
    """Runs cells. What a case put on disk serves all of its cells, unless they change it."""

    def __init__(self, settings: Settings, copies: Copies, room: Path, nursery: Nursery) -> None:
        self._settings = settings
        self._copies = copies
        self._room = room
        self._nursery = nursery
        self._planted: Planted | None = None
        self._sound_seconds: dict[tuple[str, bool], float] = {}

    def found(self, case: Case, loader: str, policy: OnError) -> Found | None:
        """What comes of one cell; None where no sample can have the fault there."""
        settings = self._settings
        if self._planted is None or self._planted.later or self._planted.act:
            self.clear()
            self._room.mkdir()
            self._planted = plant(case, self._copies, self._room, settings.share, settings.seed)
        planted = self._planted
        if planted is None:
            return None
        cell = Cell(
            loader,
            planted.data,
            policy,
            size=settings.size,
            batch_size=min(_MOST_BATCH, max(_LEAST_BATCH, len(self._copies.names) // _BATCHES)),
            workers=settings.workers,
            device=settings.device,
            seed=settings.seed,
            cache=self._room / "cache",
            later=planted.later,
            act=planted.act,
        )
        delivered = run_cell(self._nursery, cell, settings.limit_seconds)
        verdict = judge(planted, delivered, policy)
        seconds = delivered.seconds if delivered.ended == "whole" else None
        place = (loader, case.lies == "files")
        if case.fault is None and seconds is not None:
            # Kernels have been compiled and copies been made by now.
            seconds = run_cell(self._nursery, cell, settings.limit_seconds).seconds
            self._sound_seconds[place] = seconds
        sound_seconds = self._sound_seconds.get(place)
        return Found(
            loader,
            case.name,
            case.lies,
            policy,
            verdict.outcome,
            verdict.words,
            len(planted.damaged),
            seconds,
            seconds / sound_seconds if seconds is not None and sound_seconds else None,
        )

    def clear(self) -> None:
        """Remove what the last case put on disk."""
        shutil.rmtree(self._room, ignore_errors=True)
        self._planted = None


def run_cell(nursery: Nursery, cell: Cell, limit_seconds: float) -> Delivered:
    """Run a cell in a fresh process, and end it where it takes longer than it may."""
    over = Event()
    with nursery.running(cell) as (pid, events):

        def end() -> None:
            over.set()
            if pid > 0:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

        timer = Timer(limit_seconds, end)
        timer.start()
        try:
            for event in events:
                match event:
                    case Finished(Delivered(ended="died")) if over.is_set():
                        return Delivered("hung", f"it ran for {limit_seconds:g} s without an end")
                    case Finished(Delivered() as delivered):
                        return delivered
        finally:
            timer.cancel()
    raise AssertionError("a task ends with Finished")
