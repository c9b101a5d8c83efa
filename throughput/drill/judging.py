"""What came of a cell, judged by what it delivered: every sample comes as it is wanted, or is told of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from throughput.contracts import FILLER_ID, OnError
from throughput.drill.cell import Delivered
from throughput.drill.planting import Planted

Outcome = Literal[
    "read",
    "raised",
    "skipped",
    "substituted",
    "undetectable",
    "not applicable",
    "SILENT",
    "unnamed",
    "hung",
    "crashed",
]
FAILED: tuple[Outcome, ...] = ("SILENT", "unnamed", "hung", "crashed")
"""What no cell may end as."""


@dataclass(frozen=True)
class Verdict:
    """words: what was seen, where the outcome alone does not say it."""

    outcome: Outcome
    words: str = ""


def judge(planted: Planted, delivered: Delivered, policy: OnError) -> Verdict:
    """Hold what was delivered against what was wanted."""
    match delivered.ended:
        case "not applicable":
            return Verdict("not applicable", delivered.words)
        case "hung":
            return Verdict("hung", delivered.words)
        case "died":
            return Verdict("crashed", delivered.words)
        case "error" | "whole":
            pass
    came = frozenset(delivered.ids[delivered.ids != FILLER_ID].tolist())
    told = _told(planted, delivered)
    wrong = _wrong(planted, delivered, told)
    if delivered.ended == "whole":
        if lost := frozenset(range(len(planted.wanted))) - came - told:
            wrong.append(_of(planted, lost, "never come and nobody says so"))
        wrong += _wrong_at_the_end(planted, delivered, told, policy)
    if wrong:
        return Verdict("SILENT", "; ".join(wrong))
    if delivered.ended == "error":
        named = _names(planted, delivered.words)
        return Verdict("raised" if named else "unnamed", delivered.words)
    if unknown := came & planted.damaged:
        words = f"{len(unknown)} damaged samples come as ordinary images: their bytes do not tell"
        return Verdict("undetectable", words + (f"; {len(told)} others are told of" if told else ""))
    if told:
        words = f"{len(told)} samples: {delivered.named[0].cause}"
        return Verdict("substituted" if policy == "substitute" else "skipped", words)
    return Verdict("read")


def _wrong(planted: Planted, delivered: Delivered, told: frozenset[int]) -> list[str]:
    """What is wrong with that which came, in words."""
    ids = delivered.ids
    said = []
    strange = ids[(ids != FILLER_ID) & ((ids < 0) | (ids >= len(planted.wanted)))]
    if len(strange):
        return [f"{len(strange)} ids are not of the source, such as {int(strange[0])}"]
    distinct, times = np.unique(ids[ids != FILLER_ID], return_counts=True)
    if again := frozenset(distinct[times > 1].tolist()):
        said.append(_of(planted, again, "come more than once"))
    came = frozenset(distinct.tolist())
    if both := came & told:
        said.append(_of(planted, both, "come although they are told of as bad"))
    if sound := told - planted.hit:
        said.append(_of(planted, sound, "are told of as bad and are not"))
    if silent := (came & planted.damaged) - planted.untold:
        said.append(_of(planted, silent, "come as ordinary images, although damaged"))
    differing = frozenset(
        sample_id
        for sample_id, image in zip(ids.tolist(), delivered.images, strict=True)
        if sample_id != FILLER_ID
        and sample_id not in planted.damaged
        and not np.abs(image - planted.wanted[sample_id]).mean() <= delivered.largest_error
    )
    if differing:
        said.append(_of(planted, differing, "come with other pixels"))
    mislabelled = frozenset(
        sample_id
        for sample_id, label in zip(ids.tolist(), delivered.labels.tolist(), strict=True)
        if sample_id != FILLER_ID and label != planted.labels[sample_id]
    )
    if mislabelled:
        said.append(_of(planted, mislabelled, "come with another's label"))
    return said


def _wrong_at_the_end(
    planted: Planted, delivered: Delivered, told: frozenset[int], policy: OnError
) -> list[str]:
    """What is wrong with a whole epoch, given which samples were told of."""
    stand_ins = np.flatnonzero(delivered.ids == FILLER_ID).tolist()
    if policy == "raise" and told:
        return [_of(planted, told, "are told of as bad and none is raised")]
    if policy != "substitute":
        return [f"{len(stand_ins)} images stand in for others unasked"] if stand_ins else []
    # Where there has been no good image yet, nothing can stand in.
    if len(stand_ins) > len(told):
        return [f"{len(stand_ins)} images stand in for {len(told)} bad ones"]
    if told and sum(size < max(delivered.sizes) for size in delivered.sizes) > 1:
        return ["batches come smaller, although other images are to stand in for bad ones"]
    if strange := [place for place in stand_ins if not _is_another(planted, delivered, place)]:
        return [f"{len(strange)} images that stand in are, with their labels, none of the sound ones"]
    return []


def _is_another(planted: Planted, delivered: Delivered, place: int) -> bool:
    """Whether what stands in at a place is a sound sample, with its label."""
    sound = sorted(set(range(len(planted.wanted))) - planted.damaged)
    errors = np.abs(planted.wanted[sound] - delivered.images[place]).mean((1, 2, 3))
    same = errors <= delivered.largest_error
    return bool((planted.labels[sound][same] == delivered.labels[place]).any())


def _told(planted: Planted, delivered: Delivered) -> frozenset[int]:
    """Samples that are told of by their own names; one by another's name is told of by none."""
    return frozenset(
        fault.id
        for fault in delivered.named
        if 0 <= fault.id < len(planted.names)
        and any(name in fault.sample for name in planted.names[fault.id])
    )


def _names(planted: Planted, words: str) -> bool:
    """Whether an error names a sample that the fault touches, or the fault as a whole."""
    of_samples = (name for sample_id in planted.hit for name in planted.names[sample_id])
    return any(name in words for name in of_samples) or any(
        word.lower() in words.lower() for word in planted.words
    )


def _of(planted: Planted, ids: frozenset[int], words: str) -> str:
    """What is wrong with some samples, and one of them."""
    return f"{len(ids)} of {len(planted.names)} samples {words}, such as {planted.names[min(ids)][0]}"
