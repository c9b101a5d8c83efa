"""``tune`` from Python: the search, its certificate and, if asked for, the whole grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from throughput.choices import (
    Data,
    choose_device,
    choose_image_size,
    choose_model,
    choose_source,
    choose_work,
)
from throughput.command_line import command_line
from throughput.contracts import Augmentation, LoaderFactory, Progress, no_progress, require_count
from throughput.errors import OptionError
from throughput.measure.environment import environment, usable_cores
from throughput.measure.plan import Plan, describe_work
from throughput.options import build_options
from throughput.quantities import parse_duration
from throughput.registry import load_loader
from throughput.tuning.command import bench_command
from throughput.tuning.limits import Limits, limits_here
from throughput.tuning.run import Task, run_task
from throughput.tuning.space import build_space, worker_counts
from throughput.tuning.tuned import Tuning

PHASES = ("load", "train")
_SEARCHED = ("workers", "batch_size", "budget", "phases")
"""Parts of the work that say nothing here: what was tried tells them."""


def tune(
    loader: str,
    data: Data = None,
    *,
    budget: str | float = "60s",
    phase: str = "load",
    batch_sizes: Sequence[int] | None = None,
    workers: Sequence[int] | None = None,
    image_size: int | None = None,
    model: str | None = None,
    precision: str = "auto",
    device: str = "auto",
    compile: bool = False,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    exhaustive: bool = False,
    certified: bool = True,
    label_field: str | None = None,
    allow_pipe: bool = False,
    labels: str | Path | None = None,
    split_fraction: float | None = None,
    augmentation: Augmentation | None = None,
    channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    limits: Limits | None = None,
    progress: Progress = no_progress,
    on_result: Callable[[Tuning], None] = lambda _: None,
) -> Tuning:
    """Find the workers, the prefetch and whatever else makes a loader fastest on this data and machine.

    budget: of the search, in seconds or as ``60s``, ``2m``, ``1h``. phase: ``load`` is the loader alone,
    ``train`` loader and model together. batch_sizes: those to choose among; by default the usual one.
    workers: likewise; by default from 1 to twice the usable cores. options: of the loader, by name: these are
    not searched. exhaustive: measure the whole grid afterwards, which may take long, and tell the regret.
    limits: of memory; by default this machine's. ``on_result`` is told what is known after each block. The
    rest is as for ``bench``.

    Raises OptionError for a pipeline that nobody knows how to change, and for a budget that is too short;
    NothingMeasuredError where nothing can be measured; any ThroughputError that says what to do.
    """
    budget_seconds = parse_duration("--budget", budget)
    if phase not in PHASES:
        raise OptionError(f"--phase must be {' or '.join(PHASES)}, got {phase!r}")
    factory = load_loader(loader)
    _require_tunable(loader, factory)
    fixed = dict(options or {})
    build_options(factory, fixed)
    counts = _counts("workers (--workers)", workers) or worker_counts(usable_cores())
    sizes = _counts("batch_size (--batch)", batch_sizes)
    chosen_model = choose_model(model, str(choose_device(device)))
    source = choose_source(
        data, label_field, allow_pipe, progress, labels=labels, split_fraction=split_fraction
    )
    work = choose_work(
        source,
        batch_size=sizes[0] if sizes else None,
        image_size=choose_image_size(image_size, chosen_model),
        workers=min(counts, key=lambda count: abs(count - usable_cores())),
        precision=precision,
        device=device,
        seed=seed,
        augmentation=augmentation,
        channels=channels,
        mean=mean,
        std=std,
    )
    if not source.classes:
        raise OptionError(
            f"{source.location}: the labels are numbers to predict, and what is measured is a classifier"
        )
    limits = limits or limits_here()
    space = build_space(
        factory, work, fixed, batch_sizes=sizes or (work.batch_size,), workers=counts, limits=limits
    )
    plan = Plan(loader, work, chosen_model, fixed, (phase,), compile=compile)  # type: ignore[arg-type] # one of PHASES
    others = {
        "--size": image_size,
        "--model": model,
        "--precision": None if precision == "auto" else precision,
        "--device": None if device == "auto" else device,
        "--compile": compile,
        "--seed": seed or None,
        "--labels": labels,
        "--split-fraction": split_fraction,
        "--label-field": label_field,
        "--allow-pipe": allow_pipe,
        "--channels": channels,
        "--mean": mean,
        "--std": std,
    }
    task = Task(
        plan=plan,
        space=space,
        limits=limits,
        known=Tuning(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command_line(),
            environment=environment(),
            work={name: value for name, value in describe_work(plan).items() if name not in _SEARCHED},
            loader=loader,
            phase=phase,
            searched=space.searched(),
            budget_seconds=budget_seconds,
        ),
        command_of=lambda chosen: bench_command(loader, data, chosen, fixed, augmentation, others),
        own_data=data is not None,
        certified=certified,
        exhaustive=exhaustive,
    )
    return run_task(task, progress, on_result)


def _require_tunable(loader: str, factory: LoaderFactory) -> None:
    """Raise OptionError for a loader of which nothing can be changed from outside."""
    if factory.ceiling:
        raise OptionError(f"{loader} repeats a few batches: there is nothing to tune")
    if not factory.takes_work:
        raise OptionError(
            f"{loader} is called without the work, so nobody can change its workers from outside: call its "
            "first parameter `work`, and make as many workers as work.workers and batches of work.batch_size"
        )


def _counts(name: str, chosen: Sequence[int] | None) -> tuple[int, ...]:
    """Each once, in their order; none where nothing was chosen. Raises OptionError."""
    for count in chosen or ():
        require_count(name, count)
    return tuple(dict.fromkeys(chosen or ()))
