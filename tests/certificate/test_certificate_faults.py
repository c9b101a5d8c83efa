"""Every fault is caught, by the check that is there for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from faults import FURTHER, REQUIRED, Fault
from recipes import RIGHT, Recipe, RecipeLoaderFactory

from throughput.certificate import make_certificate
from throughput.contracts import Batch, Loader, LoaderFactory, Work


def title(fault: Fault) -> str:
    return fault.name.replace(" ", "-")


def test_an_honest_loader_is_comparable(work: Work) -> None:
    certificate = make_certificate(RecipeLoaderFactory(), None, work, data=True)
    assert certificate.comparable, certificate.failed
    assert {check.name.partition(".")[0] for check in certificate.checks} == {"val", "train", "data"}


@dataclass
class _UnluckyFactory(LoaderFactory):
    """Mirrors more in some epochs: what chance may do, once."""

    unlucky: tuple[int, ...]
    name = "unlucky"

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:
        honest, other = Recipe(), Recipe(flip=0.7)
        with (
            RecipeLoaderFactory(honest).open(work, options) as right,
            RecipeLoaderFactory(other).open(work, options) as wrong,
        ):
            yield _Unlucky(right, wrong, self.unlucky)


class _Unlucky(Loader):
    def __init__(self, right: Loader, wrong: Loader, unlucky: tuple[int, ...]) -> None:
        self.samples_per_epoch = right.samples_per_epoch
        self._right, self._wrong, self._unlucky = right, wrong, unlucky

    def epoch(self, index: int) -> Iterator[Batch]:
        return (self._wrong if index in self._unlucky else self._right).epoch(index)


def test_what_chance_may_do_once_is_no_fault(work: Work) -> None:
    certificate = make_certificate(_UnluckyFactory((0, 1)), None, work, data=False)
    assert certificate.comparable, certificate.failed


def test_what_comes_again_in_later_epochs_is_a_fault(work: Work) -> None:
    certificate = make_certificate(_UnluckyFactory((0, 1, 2, 3)), None, work, data=False)
    assert {check.name for check in certificate.failed} == {"train.flip"}


BRIEF = (
    "0..1 mean/std on 0..255, in train only",
    "grey in place of colour",
    "red brighter by one level",
    "mirrored upside down",
    "pixels of another image",
    "a rank that serves everything",
    "one coin for the mirrors of a batch",
    "a twentieth of the crops kept from epoch to epoch",
)
"""Of the further faults those that other checks catch; tests/benchmarks/false_alarms.py tries them all."""


@pytest.mark.parametrize(
    "fault", [*REQUIRED, *(fault for fault in FURTHER if fault.name in BRIEF)], ids=title
)
def test_a_fault_is_caught_by_its_check(fault: Fault, work: Work) -> None:
    certificate = make_certificate(fault.factory, None, work, data=False)
    assert certificate.comparable is False
    failed = {check.name for check in certificate.failed}
    assert set(fault.caught_by) <= failed, certificate.failed
    unrelated = {name for name in failed - set(fault.caught_by) if not name.startswith(fault.related)}
    assert not unrelated, certificate.failed
    assert all(check.words for check in certificate.failed)


def test_colour_that_a_train_decoder_rebuilds_otherwise_is_caught(work: Work) -> None:
    """Where crops are large enough to show it: smaller ones average it away."""
    factory = RecipeLoaderFactory(replace(RIGHT, splits=("train",), quick_chroma=True))
    certificate = make_certificate(factory, None, replace(work, image_size=160), data=False)
    assert {check.name for check in certificate.failed} == {"train.pixels"}
