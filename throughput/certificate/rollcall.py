"""Who came: every id of the split exactly once, with its own label, in another order each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from throughput.certificate.delivery import Delivery, Epoch, deliver
from throughput.contracts import LoaderFactory, Source, Work
from throughput.measure.ledger import Ledger
from throughput.results import Check

Ids = NDArray[np.int64]


def check_ids(name: str, source: Source, expected: Ids, delivery: Delivery) -> Check:
    """Every expected id exactly once in each epoch; where the loader was stopped, none twice."""
    ledger = Ledger(expected)
    faults = 0
    words = f"each of {len(expected)} ids comes exactly once in an epoch"
    for place, epoch in enumerate(delivery.epochs):
        ledger.begin(place)
        ledger.add(epoch.ids)
        if not delivery.stopped:
            ledger.end()
        count = ledger.count().epochs[-1]
        wrong = (count.missing or 0) + count.duplicate + count.unexpected
        if wrong > faults:
            faults, words = (
                wrong,
                _faults_in_words(source, expected, epoch.ids, complete=not delivery.stopped),
            )
    return Check(name, faults == 0, words, float(faults), 0.0)


def _faults_in_words(source: Source, expected: Ids, came: Ids, *, complete: bool) -> str:
    distinct, times = np.unique(came, return_counts=True)
    missing = np.setdiff1d(expected, distinct) if complete else np.empty(0, np.int64)
    strange = np.setdiff1d(distinct, expected)
    said = []
    if len(missing):
        said.append(f"{len(missing)} of {len(expected)} ids never come{_which(source, expected, missing)}")
    if (times > 1).any():
        said.append(
            f"{int((times > 1).sum())} ids come more than once, {int((times - 1).sum())} times too often"
        )
    if len(strange):
        said.append(f"{len(strange)} ids do not belong to the split, such as {int(strange[0])}")
    return "; ".join(said)


def _which(source: Source, expected: Ids, missing: Ids) -> str:
    """What the missing ids have in common."""
    labels = source.labels if source.classes else np.zeros(len(source.labels), np.int64)
    held = np.unique(labels[missing])
    whole = [
        label
        for label in held
        if (labels[missing] == label).sum() == (labels[expected] == label).sum() and len(held) < 3
    ]
    if len(whole) == len(held) < len(np.unique(labels[expected])):
        return f": all of class {', '.join(source.classes[label] for label in whole)}"
    if (missing == expected[-len(missing) :]).all():
        return ": the last ones, as if a smaller last batch were dropped"
    return ""


def check_labels(name: str, source: Source, epochs: Sequence[Epoch]) -> Check:
    """Each id comes with its own label."""
    ids, labels = (np.concatenate([getattr(epoch, part) for epoch in epochs]) for part in ("ids", "labels"))
    known = (ids >= 0) & (ids < len(source.labels))
    true, labels = source.labels[ids[known]], labels[known]
    wrong = int((true != labels).reshape(len(true), -1).any(1).sum()) if len(true) else 0
    words = "each id comes with its own label"
    if wrong and not source.classes:
        words = f"{wrong} of {len(labels)} targets are wrong"
    elif wrong:
        words = f"{wrong} of {len(labels)} labels are wrong{_pattern(true, labels, len(source.classes))}"
    return Check(name, wrong == 0, words, float(wrong), 0.0)


def _pattern(true: Ids, labels: Ids, classes: int) -> str:
    differences = np.unique(labels - true)
    if len(differences) == 1:
        return (
            f": they are the true ones {'plus' if differences[0] > 0 else 'minus'} {abs(int(differences[0]))}"
        )
    if len(turned := np.unique((labels - true) % classes)) == 1:
        return f": they are the true ones plus {int(turned[0])}, modulo {classes}"
    pairs = np.unique(np.stack([true, labels]), axis=1)
    if pairs.shape[1] == len(np.unique(true)):
        swaps = ", ".join(f"{a} comes as {b}" for a, b in pairs.T.tolist() if a != b)
        return f": the classes change places ({swaps})"
    return ""


def check_order(epochs: Sequence[Epoch]) -> Check:
    """Train comes shuffled, and in another order in each epoch."""
    first, second = epochs[0].ids, epochs[1].ids
    words = "samples come in another order in each epoch"
    same = len(first) == len(second) and bool((first == second).all())
    steps = np.diff(first)
    sorted_ = bool((steps > 0).all() or (steps < 0).all())
    if sorted_:
        words = "samples come in the order of the source, or backwards: they are not shuffled"
    elif same:
        words = "samples come in the same order in each epoch"
    return Check("train.order", not (same or sorted_), words)


def check_ranks(name: str, factory: LoaderFactory, options: Any, work: Work) -> Check:
    """Two ranks share no id and miss none. Raises BrokenError and UnknownIdsError."""
    came = [
        deliver(factory, options, replace(work, rank=rank, world_size=2), [0]).epochs[0].ids
        for rank in (0, 1)
    ]
    expected = work.source.ids(work.split)
    # Held against each other as sets: what comes twice within one rank counts as well.
    shared = len(np.intersect1d(came[0], came[1]))
    missing = len(np.setdiff1d(expected, np.concatenate(came)))
    again = sum(len(ids) - len(np.unique(ids)) for ids in came)
    words = f"two ranks together deliver each of {len(expected)} ids once"
    if shared or missing or again:
        said = [f"{shared} of {len(expected)} ids come in both ranks"] * (shared > 0)
        said += [f"{missing} come in neither"] * (missing > 0)
        said += [f"{again} come again within a rank"] * (again > 0)
        words = (
            f"of two ranks: {', '.join(said)}; let each take every work.world_size-th id, from the one at "
            "work.rank on"
        )
    return Check(name, not (shared or missing or again), words, float(shared + missing + again), 0.0)
