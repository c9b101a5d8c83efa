"""What limits a training, in a word and in a sentence, what to try next, and how long an epoch takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from throughput.measure.balance import NEAR, Balance, balance_of
from throughput.measure.suggestions import Possible, suggest
from throughput.results import Bottleneck, Projection, Rate, Row, Verdict

_IMPOSSIBLE = 1.25
"""Training may come out above what limits it by the noise of passes, but not by a quarter."""


def draw_verdict(
    row: Row,
    work: Mapping[str, Any],
    cores: int,
    others: Sequence[Row],
    project_images: int = 1_281_167,
    possible: Possible = Possible(),  # noqa: B008 - frozen
) -> Verdict | None:
    """The verdict on a row; None where the loader, the model or both together were not measured.

    None also where both together came out far above one of them alone: something else was at work.

    work: ``Results.work``; without its ``workers``, nothing is promised of ``--workers``. cores: usable ones.
    others: rows of the same run whose loaders could take this one's place. project_images: of the data set
    whose epoch is wanted. possible: what could be tried on this machine.
    """
    balance = balance_of(row, work, cores)
    if balance is None or row.train is None:
        return None
    if balance.train > _IMPOSSIBLE * min(balance.load, balance.model):
        return None  # a warning says so, and what to do
    rate = row.train.images_per_second
    counts = dict.fromkeys((int(work.get("train_images", 0)), project_images))
    return Verdict(
        bottleneck=bottleneck_of(balance),
        sentence=sentence_of(balance),
        overlap_efficiency=balance.overlap_efficiency,
        stages=row.stages,
        suggestions=suggest(balance, row, work, others, possible),
        epochs=tuple(_projection(images, rate) for images in counts if images > 0),
    )


def bottleneck_of(balance: Balance) -> Bottleneck:
    """What limits the training.

    Training that reaches the model's own rate is limited by the model, or by both alike. If it falls short of
    both on cores that are all busy, they contend for these. Otherwise the loader is late: for the transfer,
    or because it is no faster than the model, or slower, or works only while the model waits.
    """
    if balance.share >= NEAR:
        return "balanced" if balance.alike else "model-bound"
    if balance.contended:
        return "cpu-contended"
    if balance.transfer_limits:
        return "transfer-bound"
    return "balanced" if balance.alike and not balance.takes_turns else "loader-bound"


def sentence_of(balance: Balance) -> str:
    """The verdict in one sentence, with the figures that decided."""
    load, model, train = (_rate(rate) for rate in (balance.load, balance.model, balance.train))
    share = f"{100 * balance.share:.0f} %"
    reached = f"{balance.activity} runs at {train} images/s, {share} of what the model takes alone ({model})"
    match bottleneck_of(balance):
        case "model-bound" if balance.load < NEAR * balance.model:
            return (
                f"{reached}, and above the {load} that the loader alone came to, which cannot be: "
                "measure longer, on a machine that does nothing else"
            )
        case "model-bound":
            return f"{reached}; the loader could deliver {load}"
        case "cpu-contended":
            busy = balance.cpu_utilisation
            told = "" if busy is None else f", {100 * busy:.0f} % of which they keep busy"
            return (
                f"loader and model share the {balance.cores} cores{told}: the loader alone reaches {load} "
                f"images/s, the model alone {model}, both together {train} ({share} of the model's)"
            )
        case "transfer-bound":
            assert balance.finish_seconds is not None
            return (
                f"transfer to the GPU and finishing there allow {_rate(1 / balance.finish_seconds)} images/s "
                f"and so limit the loader ({load} alone); {reached}"
            )
        case "balanced":
            return f"the loader is as fast ({load} images/s alone); {reached}{_short(balance)}"
        case _ if balance.load > balance.model:
            return f"the loader could keep up ({load} images/s alone), but {reached}{_short(balance)}"
        case _:
            return f"the loader delivers {load} images/s alone; {reached}{_short(balance)}"


def _short(balance: Balance) -> str:
    """Why training falls short of both rates, where it does."""
    if not balance.short_of_both:
        return ""
    if balance.takes_turns:
        return ": they take turns, the loader works only while the model waits, so let it make batches ahead"
    if balance.shares_the_gpu:
        return (
            f": a step takes {balance.step_slowdown:.1f} times as long as alone, for the loader decodes on "
            "the same GPU"
        )
    if balance.cores_are_busy:
        return f": the {balance.cores} cores are busy, and the process that runs the model must share them"
    if balance.steps_are_slowed:
        busy = balance.cpu_utilisation
        told = "" if busy is None else f", though both keep only {100 * busy:.0f} % of the cores busy"
        return (
            f": a step takes {balance.step_slowdown:.1f} times as long as alone{told} "
            "(threads that hold the interpreter's lock, memory that is not fast enough, or other processes)"
        )
    return f": {100 * balance.wait_fraction:.0f} % of the time goes by waiting for a batch"


def _projection(images: int, rate: Rate) -> Projection:
    return Projection(
        images=images,
        seconds=images / rate.median,
        low=images / rate.high if rate.high else None,
        high=images / rate.low if rate.low else None,
    )


def _rate(images_per_second: float) -> str:
    return f"{images_per_second:,.0f}" if images_per_second >= 10 else f"{images_per_second:.2g}"
