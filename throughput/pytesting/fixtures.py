"""What a test calls: ``loader_benchmark`` and ``train_benchmark``, which differ in the phases alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

import pytest

from throughput.api import bench
from throughput.errors import OptionError
from throughput.given_pipeline import name_of
from throughput.measure.plan import require_phases
from throughput.pytesting.measuring import How, Measured
from throughput.results import PhaseName, Results, Row

if TYPE_CHECKING:
    from throughput.choices import Data
    from throughput.contracts import Augmentation, OnError
    from throughput.measure.plan import CacheMode


_OWN = ("phases", "options", "seconds", "steps", "repeats", "certified")
"""Of a fixture's settings, those that it takes itself."""


class Settings(TypedDict, total=False):
    """What ``throughput.bench`` takes under the same names."""

    batch_size: int | None
    image_size: int | None
    workers: int | str
    model: str | None
    compile: bool
    precision: str
    device: str
    seed: int
    cache: CacheMode
    on_error: OnError
    max_errors: int
    recertify: bool
    label_field: str | None
    allow_pipe: bool
    labels: str | Path | None
    split_fraction: float | None
    augmentation: Augmentation | None
    channels: int | None
    mean: Sequence[float] | None
    std: Sequence[float] | None


class Benchmark:
    """Call it once in a test. phases: what is measured where the test does not say."""

    def __init__(self, measured: Measured, phases: Sequence[PhaseName]) -> None:
        self._measured = measured
        self._phases = phases

    def __call__(
        self,
        loader: Any,
        data: Data = None,
        *,
        phases: Sequence[PhaseName] | None = None,
        options: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        steps: int | None = None,
        repeats: int | None = None,
        certified: bool = True,
        together: Sequence[str] = (),
        **settings: Unpack[Settings],
    ) -> Row:
        """Measure a loader, and return its row of the results.

        loader: a name, ``package.module:callable``, or the pipeline itself: a DataLoader or another iterable
        of (images, labels) or (images, labels, ids), a function that makes one, or a LoaderFactory.
        data and settings: as of ``throughput.bench``, and those of the command line where they are left out.
        phases: some of load, model and train; the test is judged by the last. options: the loader's own.
        together: the names of several loaders, each of which has a test that differs in nothing else: all are
        measured in interleaved rounds when the first test asks, so that they can be compared.
        """
        unknown = sorted(set(settings) - set(Settings.__annotations__))
        if unknown:
            pytest.fail(
                f"unknown settings {', '.join(unknown)}; there are "
                f"{', '.join((*_OWN, *Settings.__annotations__))}",
                pytrace=False,
            )
        chosen = tuple(self._phases if phases is None else phases)
        require_phases(chosen)
        name = name_of(loader, self._measured.test_modules)
        if together and name not in together:
            raise OptionError(f"{name} is not among those that are measured together: {', '.join(together)}")

        def measure(how: How) -> Results:
            names = list(together) if together and not how.alone else [name]
            budget = how.budget(seconds, steps, repeats)

            def run() -> Results:
                return bench(
                    names,
                    how.data if data is None else data,
                    phases=chosen[-1:] if how.alone else chosen,
                    seconds=budget.seconds,
                    steps=budget.steps,
                    repeats=budget.repeats,
                    options={} if options is None else {name: options},
                    certified=certified and how.certified,
                    go_on=how.go_on,
                    nursery=how.nursery,
                    measure_block=how.measure_block,
                    **cast(Settings, {**how.settings, **settings}),
                )

            if names == [name]:
                return run()
            own = None if options is None else (name, repr(options))
            key = (tuple(names), chosen, str(data), own, budget, certified, repr(sorted(settings.items())))
            return _of_loader(self._measured.once_for_all(key, run), name)

        return self._measured(measure, chosen[-1])


def _of_loader(results: Results, loader: str) -> Results:
    """The run as it is for one of its loaders."""
    return replace(
        results,
        rows=tuple(row for row in results.rows if row.loader == loader),
        comparisons=tuple(one for one in results.comparisons if loader in (one.loader, one.baseline)),
    )
