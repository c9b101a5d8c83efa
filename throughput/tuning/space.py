"""Which configurations there are to choose from, where the search begins, and what lies near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from throughput.contracts import Held, LoaderFactory, Tunable, Work
from throughput.errors import NothingMeasuredError, OptionError
from throughput.options import build_options
from throughput.tuning.configuration import Configuration
from throughput.tuning.limits import Limits, batch_bytes

_FEW_CORES = 8
"""Up to so many, one worker more or less than there are cores makes a difference that shows."""
_USUAL_PREFETCH = 2


@dataclass(frozen=True)
class Space:
    """grid: every configuration that fits, in its natural order. too_large: those that do not, and why."""

    start: Configuration
    grid: tuple[Configuration, ...]
    too_large: Mapping[Configuration, str]

    def star(self) -> tuple[Configuration, ...]:
        """The start, and what differs from it in one setting: the nearest first, of them other workers."""
        arms = [one for one in self.grid if len(one.differing(self.start)) == 1]
        names = list(self.start.settings)

        def order(one: Configuration) -> tuple[int, int]:
            (name,) = one.differing(self.start)
            return _steps(one, self.start, self.grid), names.index(name)

        return (self.start, *sorted(arms, key=order))

    def searched(self) -> tuple[str, ...]:
        """Names of the settings of which there is a choice."""
        tried = (*self.grid, *self.too_large)
        names = {name: None for one in tried for name in one.settings}
        return tuple(name for name in names if len({one.settings.get(name) for one in tried}) > 1)


def worker_counts(cores: int) -> tuple[int, ...]:
    """Numbers of workers worth trying: powers of 2 and the cores, up to twice the cores."""
    counts = {cores, 2 * cores} | {2**power for power in range((2 * cores).bit_length())}
    if cores <= _FEW_CORES:
        counts |= {cores - 1, cores + 1}
    return tuple(sorted(count for count in counts if 1 <= count <= 2 * cores))


def build_space(
    factory: LoaderFactory,
    work: Work,
    fixed: Mapping[str, Any],
    *,
    batch_sizes: Sequence[int],
    workers: Sequence[int],
    limits: Limits,
) -> Space:
    """All combinations of what is worth trying. The search begins with the workers and the batch of ``work``.

    fixed: options of the loader that the user chose: they are not searched. Raises OptionError for them, and
    for a batch larger than the train split; NothingMeasuredError where nothing fits into memory.
    """
    options = build_options(factory, fixed)
    samples = len(work.source.ids("train")) // work.world_size
    grid: list[Configuration] = []
    too_large: dict[Configuration, str] = {}
    for batch_size, count in product(batch_sizes, workers):
        if batch_size > samples:
            raise OptionError(f"--batch {batch_size} is larger than the train split, of {samples} images")
        here = replace(work, batch_size=batch_size, workers=count)
        for chosen in _combinations(factory, here, options, fixed):
            held = _held(factory, here, replace(options, **chosen))
            one = Configuration(count, batch_size, tuple(chosen.items()), held.batches * batch_bytes(here))
            if (reason := limits.why_not(here, held)) is not None:
                too_large[one] = reason
            else:
                grid.append(one)
    if not grid:
        leanest = min(too_large, key=lambda one: one.held_bytes)
        raise NothingMeasuredError(f"nothing fits into memory; {leanest.words}: {too_large[leanest]}")
    wanted = Configuration(work.workers, work.batch_size, _own_values(options, grid[0]))
    every = (*grid, *too_large)
    start = min(grid, key=lambda one: (_steps(one, wanted, every), one.held_bytes))
    return Space(start, tuple(grid), too_large)


def _combinations(
    factory: LoaderFactory, work: Work, options: Any, fixed: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The loader's own options in all combinations; one without any where it has nothing to try."""
    if not isinstance(factory, Tunable):
        return [{}]
    axes = {}
    for name, values in factory.tunable(work, options).items():
        own = getattr(options, name)
        if name not in fixed:
            axes[name] = tuple(values) if own in values else (own, *values)
    return [dict(zip(axes, chosen, strict=True)) for chosen in product(*axes.values())]


def _held(factory: LoaderFactory, work: Work, options: Any) -> Held:
    """What the loader says; of one that does not say, what torch's DataLoader would hold."""
    if isinstance(factory, Tunable):
        return factory.held(work, options)
    batches = work.workers * (getattr(options, "prefetch", _USUAL_PREFETCH) + 1)
    return Held(batches, batches)


def _own_values(options: Any, like: Configuration) -> tuple[tuple[str, Any], ...]:
    return tuple((name, getattr(options, name)) for name, _ in like.options)


def _steps(one: Configuration, other: Configuration, among: Sequence[Configuration]) -> int:
    """How many values lie between the two, setting by setting; values stand in the order of ``among``."""
    total = 0
    for name in one.differing(other):
        values = list(dict.fromkeys(each.settings.get(name) for each in among))
        ours, theirs = one.settings.get(name), other.settings.get(name)
        total += abs(values.index(ours) - values.index(theirs)) if theirs in values else len(values)
    return total
