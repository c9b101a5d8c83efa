"""What to try next, and what it is predicted to give.

A prediction is the training rate of now, times what ``Balance.expected`` changes by. Where a measurement
speaks for it, its interval is that of the measured passes, widened by what the arithmetic leaves out; where
nothing does, it is a guess, and its interval goes from no gain at all to the most that is possible.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from throughput.contracts import ComputeDtype
from throughput.measure.balance import BUSY, NEAR, Balance
from throughput.measure.statistics import rate_interval
from throughput.results import Phase, Row, Suggestion

_LEAST_GAIN = 1.02
"""What promises less is not worth a try, and could not be told from noise."""
_MARGIN = 0.05
"""Rates scale and add up only nearly as the arithmetic says."""
_UNKNOWN_SPREAD = 0.2
"""Taken for the interval of a single pass, which shows none."""
_MOST_WORKERS_FACTOR = 4
"""How many times the workers may be multiplied in one step: beyond, memory and the storage come into play."""
_NEARLY = 0.98
"""Of what the most workers would bring: more of them for the rest would only cost memory."""
_SLOW_BEGINNING = 10
"""How many times as long as for any batch the first of an epoch is waited for, where workers begin anew."""
_OWN = ":"
"""Stands in the name of a loader that the user points at: ``package.module:callable``."""
_WAITS = 0.1
"""A model that waits for less of its time gains little from batches made ahead."""
_OVERLAPS = 0.2
"""A loader whose overlap efficiency is below this makes nothing ahead: a deeper queue would not help it."""
_REDUCED_PRECISION, _COMPILE, _TWICE_THE_BATCH = 2.0, 1.5, 1.2
"""The most that these are known to multiply a convolutional model's rate by; often it is less, or nothing."""

_PRECISIONS: dict[ComputeDtype, str] = {"bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class _Idea:
    """A suggestion, and whether it is a guess."""

    suggestion: Suggestion
    guess: bool

    def order(self) -> tuple[bool, bool, float]:
        """What can be applied first, then what a measurement speaks for, then the larger gain."""
        return self.suggestion.options is None, self.guess, -self.suggestion.images_per_second


@dataclass(frozen=True)
class _Case:
    """What every idea is judged by. spread: the ends of the training rate's interval over its median."""

    balance: Balance
    row: Row
    work: Mapping[str, Any]
    spread: tuple[float, float]

    def told(self, text: str, rate: float, low: float, high: float, options: dict[str, str] | None) -> _Idea:
        """An idea that a measurement speaks for; the interval is widened by the spread and the margin."""
        narrow, wide = self.spread
        low, high = low * narrow * (1 - _MARGIN), high * wide * (1 + _MARGIN)
        if self.row.train is not None and len(self.row.train.passes) == 1:
            text += " (of a single pass: the interval is assumed)"
        return _Idea(Suggestion(text, rate, low, high, options), guess=False)

    def guessed(self, text: str, most: float, options: dict[str, str] | None) -> _Idea:
        """A guess: from no gain to ``most`` images/s; its middle is the geometric mean."""
        least = self.balance.train
        return _Idea(Suggestion(text, math.sqrt(least * most), least, most, options), guess=True)


@dataclass(frozen=True)
class Possible:
    """What could be tried on this machine.

    fast_dtype: what the model's device computes in fastest, as ``--precision auto`` chooses it. gpu_loaders:
    installed loaders that decode on the GPU. can_compile: torch.compile has the compiler that it needs.
    """

    fast_dtype: ComputeDtype = "float32"
    gpu_loaders: tuple[str, ...] = ()
    can_compile: bool = True


def suggest(
    balance: Balance,
    row: Row,
    work: Mapping[str, Any],
    others: Sequence[Row],
    possible: Possible,
) -> tuple[Suggestion, ...]:
    """What promises a gain: what can be applied first, then what is measured before what is guessed.

    The arguments are those of ``draw_verdict``.
    """
    assert row.train is not None
    low, high = _interval(row.train)
    case = _Case(balance, row, work, (low / balance.train, high / balance.train))
    ideas = [
        *_more_workers(case),
        *_fewer_workers(case),
        *_another_loader(case, others),
        *_gpu_decoding(case, others, possible.gpu_loaders),
        *_keeping_workers(case),
        *_making_ahead(case),
        *_faster_steps(case, possible),
        *_less_transfer(case),
        *_less_work_for_the_cores(case),
    ]
    worth_it = [idea for idea in ideas if idea.suggestion.images_per_second >= _LEAST_GAIN * balance.train]
    return tuple(idea.suggestion for idea in sorted(worth_it, key=_Idea.order))


def _more_workers(case: _Case) -> Iterator[_Idea]:
    """For a loader that waits more than it computes: as many workers as bring nearly the most."""
    balance, workers = case.balance, case.work.get("workers") or 1
    busy = balance.load_cpu_utilisation
    if balance.contended or (busy is not None and busy >= BUSY):
        return
    # The loader's rate rises with its workers until it has all cores to itself.
    room = 1 / busy if busy else math.inf

    def rate(count: int) -> float:
        return balance.predicted(load_factor=min(count / workers, room))

    counts = range(workers, _MOST_WORKERS_FACTOR * workers + 1)
    enough = next(count for count in counts if rate(count) >= _NEARLY * rate(counts[-1]))
    now = balance.train
    text = f"more workers for {case.row.loader}"
    if busy is not None:
        text += f": alone it keeps {busy * balance.cores:.1f} of {balance.cores} cores busy"
    if busy is None or busy * balance.cores < BUSY * workers:
        text += "; the workers that it has wait, and the gain assumes that what they wait for keeps up"
    options = {"workers": str(enough)} if case.work.get("workers") else None
    if busy is None:
        yield case.guessed(text, rate(enough), options)
    else:
        # In proportion at best; half of the gain where what is waited for does not keep up.
        yield case.told(text, rate(enough), (now + rate(enough)) / 2, rate(enough), options)


def _fewer_workers(case: _Case) -> Iterator[_Idea]:
    """For cores that have time for more than they do: too many threads take it from each other."""
    balance, workers = case.balance, case.work.get("workers") or 1
    if workers > 1 and balance.contended and balance.train < NEAR * balance.expected():
        most = balance.expected()
        text = (
            f"fewer workers for {case.row.loader}: the cores have time for {most:,.0f} images/s, and threads "
            "that outnumber them cost some of it"
        )
        yield case.guessed(text, most, {"workers": str(workers // 2)})


def _another_loader(case: _Case, others: Sequence[Row]) -> Iterator[_Idea]:
    """The fastest of those that were measured too, did the same work and were counted."""
    measured = [
        (other.train.images_per_second.median, other.train, other.loader)
        for other in others
        if other.status == "ok"
        and other.loader != case.row.loader
        and other.train is not None
        and other.ledger is not None
        and other.ledger.exact
        and _certified_alike(case.row, other)
    ]
    if measured:
        rate, phase, name = max(measured, key=lambda one: one[0])
        low, high = _interval(phase)
        text = f"use {name}: it was measured here as well"
        # What as many passes will give is less sure than what these say of the true rate, by a factor of
        # the square root of 2 (a prediction interval for the mean of equally many).
        low, high = rate * (low / rate) ** math.sqrt(2), rate * (high / rate) ** math.sqrt(2)
        yield _Idea(Suggestion(text, rate, low, high, {"loader": name}), guess=False)


def _certified_alike(row: Row, other: Row) -> bool:
    """Whether the other is known to do the same work, or nobody asked for certificates."""
    ours, theirs = (one.certificate.comparable if one.certificate else None for one in (row, other))
    return theirs is True or (theirs is None and ours is None)


def _gpu_decoding(case: _Case, others: Sequence[Row], gpu_loaders: Sequence[str]) -> Iterator[_Idea]:
    """Where CPUs decode for a GPU that waits, and no loader that decodes there was measured."""
    if not case.balance.on_gpu or case.row.decode == "gpu" or any(other.decode == "gpu" for other in others):
        return
    name = next((name for name in gpu_loaders if name != case.row.loader), None)
    text = "decode on the GPU" + ("" if name is None else f": {name} does")
    yield case.guessed(text, case.balance.model, None if name is None else {"loader": name})


def _making_ahead(case: _Case) -> Iterator[_Idea]:
    """Where loader and model do not overlap though the cores would let them."""
    balance, name = case.balance, case.row.loader
    if not balance.short_of_both or balance.cores_are_busy or _begins_slowly(case.row):
        return
    if balance.shares_the_gpu:
        text = f"decode on the CPU, in {name} or another loader: the GPU has not the time for both"
        yield case.guessed(text, balance.model, None)
        return
    if balance.steps_are_slowed and balance.wait_fraction < _WAITS:
        return  # it is not batches that the model lacks
    prefetch = case.row.options.get("prefetch")
    if isinstance(prefetch, int) and balance.overlap_efficiency >= _OVERLAPS:
        text = f"a longer queue for {name}: batches come unevenly, and the model waits in between"
        yield case.guessed(text, balance.expected(), {"opt": f"{name}.prefetch={2 * prefetch}"})
    else:
        text = f"let {name} make batches ahead, in processes or threads of its own: it works only when asked"
        yield case.guessed(text, balance.expected(), None)


def _begins_slowly(row: Row) -> bool:
    """Whether the waits are at the beginning of epochs, and not for each batch."""
    assert row.train is not None
    gap, waits = row.train.epoch_gap_seconds, row.train.wait_ms
    return gap is not None and waits is not None and 1e3 * gap > _SLOW_BEGINNING * max(waits["p50"], 1.0)


def _keeping_workers(case: _Case) -> Iterator[_Idea]:
    """Where the workers of a pipeline of the user's own begin anew in each epoch; those of others do not."""
    if _OWN in case.row.loader and _begins_slowly(case.row) and case.balance.short_of_both:
        text = (
            f"let the workers of {case.row.loader} live on between epochs, which now begin with a wait: "
            "persistent_workers=True in a DataLoader"
        )
        yield case.guessed(text, case.balance.expected(), None)


def _faster_steps(case: _Case, possible: Possible) -> Iterator[_Idea]:
    """Where a faster model would make a difference."""
    balance, work = case.balance, case.work
    if work.get("compute_dtype") == "float32" and possible.fast_dtype in _PRECISIONS:
        precision = _PRECISIONS[possible.fast_dtype]
        text = f"compute in {possible.fast_dtype}: the device is faster in it"
        most = balance.predicted(model_factor=_REDUCED_PRECISION)
        yield case.guessed(text, most, {"precision": precision})
    if possible.can_compile and not work.get("compile"):
        text = "compile the model: torch.compile joins small operations (the first steps take a minute)"
        yield case.guessed(text, balance.predicted(model_factor=_COMPILE), {"compile": "true"})
    batch_size = int(work.get("batch_size") or 0)
    if balance.on_gpu and 0 < 2 * batch_size <= int(work.get("train_images") or 0):
        follow = " (the learning rate must follow)" if balance.activity == "training" else ""
        text = f"a larger batch, if the memory has room{follow}: fewer, fuller kernels"
        most = balance.predicted(model_factor=_TWICE_THE_BATCH)
        yield case.guessed(text, most, {"batch": str(2 * batch_size)})


def _less_transfer(case: _Case) -> Iterator[_Idea]:
    """Where bringing batches to the GPU limits."""
    if case.balance.transfer_limits:
        text = "ship uint8 from pinned memory: a quarter of float32's bytes, normalised on the GPU"
        yield case.guessed(text, case.balance.model, None)


def _less_work_for_the_cores(case: _Case) -> Iterator[_Idea]:
    """Where the cores limit: half the work an image, if it could be had."""
    balance = case.balance
    loads_all_cores = (balance.load_cpu_utilisation or 0) >= BUSY
    if balance.contended or (loads_all_cores and balance.load < NEAR * balance.model):
        text = (
            "a loader with less CPU work for an image (a faster decoder, smaller files): "
            "`--loader all` measures those that are installed"
        )
        load_factor = 2.0 if loads_all_cores else 1.0
        yield case.guessed(text, balance.predicted(load_factor=load_factor, cpu_factor=0.5), None)


def _interval(phase: Phase) -> tuple[float, float]:
    """The 95 % interval of a phase's rate, or a wide one around a single pass."""
    median = phase.images_per_second.median
    low, high = rate_interval(phase.rates) or (median * (1 - _UNKNOWN_SPREAD), median * (1 + _UNKNOWN_SPREAD))
    # The median of skewed passes may lie outside the interval of their mean.
    return min(low, median), max(high, median)
