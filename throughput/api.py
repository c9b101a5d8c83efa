"""What to call from Python: ``open_loader`` to train with, ``certify`` to prove, ``bench`` to measure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
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
    require_counts,
)
from throughput.command_line import command_line
from throughput.contracts import (
    IMAGE_SIZE,
    Augmentation,
    LoaderFactory,
    OnError,
    Progress,
    Split,
    no_progress,
    require_count,
)
from throughput.errors import OptionError, UnknownNameError
from throughput.given_pipeline import GivenPipeline, name_of, told_apart
from throughput.measure.budget import Budget
from throughput.measure.environment import environment
from throughput.measure.judge import IMAGENET_IMAGES, judge
from throughput.measure.network import with_limit
from throughput.measure.nursery import Nursery
from throughput.measure.plan import PHASES, CacheMode, Certification, Plan, describe_work, require_phases
from throughput.measure.possible import possible_here
from throughput.measure.prediction import check_first_suggestion
from throughput.measure.rounds import Measure, measure_rounds
from throughput.measure.run import certify as run_certification
from throughput.opened import OpenLoader
from throughput.options import build_options
from throughput.ranks.company import ALONE, Company
from throughput.registry import load_loader, loader_names, require_usable
from throughput.results import Certificate, Results, Row

Loaders = str | Sequence[Any] | Any
"""Names (``NAME``, ``NAME,NAME``, ``all`` or a sequence of names), or a pipeline itself in place of a name: a
DataLoader, another iterable of batches that is no list, a function that makes one, or a LoaderFactory."""

UNCERTIFIED = Certificate(None, reason="its certificate was left out on request")


@contextmanager
def open_loader(
    name: str,
    data: Data = None,
    *,
    split: Split = "train",
    batch_size: int | None = None,
    image_size: int = IMAGE_SIZE,
    workers: int | str = "auto",
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    options: Mapping[str, Any] | None = None,
    raw: bool = False,
    label_field: str | None = None,
    allow_pipe: bool = False,
    labels: str | Path | None = None,
    split_fraction: float | None = None,
    augmentation: Augmentation | None = None,
    channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    on_error: OnError = "raise",
    max_errors: int = 100,
    progress: Progress = no_progress,
) -> Iterator[OpenLoader]:
    """Open a loader for a training loop of your own; leaving the context ends its processes.

    Batches are ready: (N, C, S, S) on the device, normalised, channels_last, in the compute dtype. With
    ``raw`` they come as the loader makes them, usually uint8 on the host, not yet turned or made noisy.
    ``options`` are the loader's own, as in ``--opt``; ``labels`` and ``split_fraction`` are as for
    ``open_source``, ``channels``, ``mean`` and ``std`` as for ``choose_work``; ``on_error`` and
    ``max_errors`` are those of ``Work``. Raises a ThroughputError that says what to do.
    """
    from throughput.measure.feed import Feed

    factory = load_loader(name)
    source = choose_source(
        data, label_field, allow_pipe, progress, labels=labels, split_fraction=split_fraction
    )
    work = choose_work(
        source,
        batch_size=batch_size,
        image_size=image_size,
        workers=workers,
        precision=precision,
        device=device,
        seed=seed,
        rank=rank,
        world_size=world_size,
        augmentation=augmentation,
        channels=channels,
        mean=mean,
        std=std,
        on_error=on_error,
        max_errors=max_errors,
    )
    work = replace(work, split=split)
    require_usable(factory, work)
    chosen = build_options(factory, options or {})
    prepared = factory.prepare(work, chosen, progress)
    if prepared.warning is not None:
        warnings.warn(prepared.warning, stacklevel=3)  # of the caller's ``with``
    with factory.open(prepared.work, chosen) as loader:
        epoch = loader.epoch if raw else Feed(loader, prepared.work).epoch
        yield OpenLoader(loader.samples_per_epoch, source.classes, prepared.work, loader, epoch)


def bench(
    loaders: Loaders = "all",
    data: Data = None,
    *,
    batch_size: int | None = None,
    image_size: int | None = None,
    workers: int | str = "auto",
    model: str | None = None,
    phases: Sequence[str] = PHASES,
    seconds: float = Budget.seconds,
    steps: int | None = None,
    repeats: int = Budget.repeats,
    precision: str = "auto",
    device: str = "auto",
    compile: bool = False,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    cache: CacheMode = "any",
    certified: bool = True,
    recertify: bool = False,
    project_images: int = IMAGENET_IMAGES,
    check_prediction: bool = False,
    label_field: str | None = None,
    allow_pipe: bool = False,
    labels: str | Path | None = None,
    split_fraction: float | None = None,
    augmentation: Augmentation | None = None,
    channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    on_error: OnError = "raise",
    max_errors: int = 100,
    progress: Progress = no_progress,
    on_results: Callable[[Results], None] = lambda _: None,
    go_on: Callable[[Results], bool] = lambda _: True,
    nursery: Nursery | None = None,
    measure_block: Measure | None = None,
    company: Company = ALONE,
) -> Results:
    """Certify and measure loaders, and return what the command prints.

    The loaders run in ``repeats`` interleaved rounds, each time in a fresh process. ``image_size`` is the
    model's own by default. ``options`` holds each loader's own by loader name. ``certified`` False leaves the
    certificates out, and the rows say so. ``on_results`` is told the results so far after each block;
    ``go_on`` before each, and where it answers False that was all. ``nursery`` is one that goes on to the
    next measurement, which saves the seconds that a new one takes to start. ``measure_block`` makes a row of
    one round of one loader; by default it is measured from beginning to end. ``company`` are the ranks that
    measure together (``throughput.ranks.company.in_company``); each gets the results of all. What tells of
    the data, its augmentation, its scale and its bad samples is as for ``open_loader``. Raises a
    ThroughputError where nothing can be started; a loader that cannot run here, or fails, is a row that says
    why.
    """
    from throughput.ranks.measuring import begin

    names = chosen_loaders(loaders)
    _require_options(names, options or {})
    budget = Budget(seconds=seconds, steps=steps, repeats=repeats)
    # Before the source, which may take minutes to scan or make, whatever can be known to be wrong.
    chosen_model = choose_model(model, str(choose_device(device)))
    chosen_size = choose_image_size(image_size, chosen_model)
    require_phases(phases)
    require_counts(batch_size=batch_size, image_size=chosen_size, workers=workers)
    require_count("project_images (--project-images)", project_images)
    if check_prediction and set(phases) != set(PHASES):
        raise OptionError(f"--check-prediction needs all of --phases {','.join(PHASES)}")
    with company.first_on_each_machine():
        source = choose_source(
            data, label_field, allow_pipe, progress, labels=labels, split_fraction=split_fraction
        )
    source = with_limit(source, progress, company)
    work = choose_work(
        source,
        batch_size=batch_size,
        image_size=chosen_size,
        rank=company.rank,
        world_size=company.size,
        workers=workers,
        precision=precision,
        device=device,
        seed=seed,
        augmentation=augmentation,
        channels=channels,
        mean=mean,
        std=std,
        on_error=on_error,
        max_errors=max_errors,
    )
    if not source.classes:
        raise OptionError(
            f"{source.location}: the labels are numbers to predict, and what is measured is a classifier: "
            "`throughput train` takes them"
        )
    plans = [
        Plan(
            loader=name,
            work=work,
            model=chosen_model,
            options=dict((options or {}).get(name, {})),
            phases=tuple(phases),  # type: ignore[arg-type] # Plan checks the names
            budget=budget,
            compile=compile,
            cache=cache,
        )
        for name in names
    ]
    blank = Results(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
        environment=environment(),
        work=describe_work(plans[0]),
        rows=(),
    )
    blank, usual = begin(company, blank, cache=cache, check_prediction=check_prediction)
    possible = possible_here(work, [factory for name in loader_names() if (factory := _loaded(name))])
    with Nursery() if nursery is None else nullcontext(nursery) as running:

        def certificate_of(plan: Plan) -> Certificate:
            if not certified:
                return UNCERTIFIED
            task = Certification(plan.loader, plan.options, plan.work, data is not None, recertify)
            return company.first(lambda: _certificate(running, task, progress))

        certificates = [certificate_of(plan) for plan in plans]

        def results_of(rows: Sequence[Row | None]) -> Results:
            judged = [
                replace(row, certificate=certificate)
                for row, certificate in zip(rows, certificates, strict=True)
                if row is not None
            ]
            return judge(replace(blank, rows=tuple(judged)), possible, project_images, company.cores)

        results = blank

        def on_block(rows: tuple[Row | None, ...]) -> None:
            nonlocal results
            results = results_of(rows)
            on_results(results)

        measure_rounds(
            plans,
            running,
            progress,
            on_block,
            go_on=lambda _: go_on(results),
            measure_block=measure_block or usual,
        )
        if check_prediction:
            results = check_first_suggestion(results, plans, running, certificate_of, progress)
    on_results(results)
    return results


def certify(
    loaders: Loaders = "all",
    data: Data = None,
    *,
    batch_size: int | None = None,
    image_size: int = IMAGE_SIZE,
    workers: int | str = "auto",
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    recertify: bool = False,
    label_field: str | None = None,
    allow_pipe: bool = False,
    labels: str | Path | None = None,
    split_fraction: float | None = None,
    augmentation: Augmentation | None = None,
    channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    progress: Progress = no_progress,
) -> tuple[tuple[str, Certificate], ...]:
    """Certify loaders, each in a fresh process: (name, certificate) in their order.

    Where ``data`` is given, the loaders are certified on its held-out images as well. What tells of the data,
    its augmentation and its scale is as for ``open_loader``. Raises a ThroughputError where nothing can be
    started.
    """
    names = chosen_loaders(loaders)
    _require_options(names, options or {})
    choose_device(device)
    require_counts(batch_size=batch_size, image_size=image_size, workers=workers)
    source = choose_source(
        data, label_field, allow_pipe, progress, labels=labels, split_fraction=split_fraction
    )
    work = choose_work(
        source,
        batch_size=batch_size,
        image_size=image_size,
        workers=workers,
        precision=precision,
        device=device,
        seed=seed,
        augmentation=augmentation,
        channels=channels,
        mean=mean,
        std=std,
    )
    with Nursery() as nursery:
        return tuple(
            (
                name,
                _certificate(
                    nursery,
                    Certification(
                        name, dict((options or {}).get(name, {})), work, data is not None, recertify
                    ),
                    progress,
                ),
            )
            for name in names
        )


def _certificate(nursery: Nursery, task: Certification, progress: Progress) -> Certificate:
    progress(f"certifying {task.loader}", 0, None)
    return run_certification(nursery, task, progress)


def _require_options(names: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
    factories = {name: factory for name in names if (factory := _loaded(name)) is not None}
    unknown = set(options) - set(names)
    if unknown:
        raise OptionError(f"options for {', '.join(sorted(unknown))}, which is not among {', '.join(names)}")
    for name, factory in factories.items():
        build_options(factory, options.get(name, {}))


def chosen_loaders(loaders: Loaders) -> tuple[str, ...]:
    """Names from a sequence or from ``NAME,NAME`` or ``all`` (every registered loader but the ceilings).

    A pipeline of the user's own that comes as an object gets a name (``given_pipeline``).
    """
    if isinstance(loaders, GivenPipeline):
        return (loaders,)
    if isinstance(loaders, str):
        loaders = [name.strip() for name in loaders.split(",") if name.strip()]
    names = told_apart([name_of(one) for one in (loaders if isinstance(loaders, Sequence) else [loaders])])
    if names == ["all"]:
        loaded = {name: _loaded(name) for name in loader_names()}
        return tuple(name for name, factory in loaded.items() if factory is None or not factory.ceiling)
    if not names:
        raise OptionError(f"--loader must name one or more of {', '.join(loader_names())}, or all")
    return tuple(dict.fromkeys(names))


def _loaded(name: str) -> LoaderFactory | None:
    """The loader; None for one that is registered and cannot be loaded, whose row will say why."""
    try:
        return load_loader(name)
    except UnknownNameError:
        if name in loader_names():
            return None
        raise
