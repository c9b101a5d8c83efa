"""Every fault is caught, by the check that is there for it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from faults import FURTHER, REQUIRED, Fault
from recipes import Recipe, RecipeLoaderFactory

from throughput.certificate import make_certificate
from throughput.contracts import Loader, LoaderFactory, Work


def title(fault: Fault) -> str:
    return fault.name.replace(" ", "-")


def test_an_honest_loader_is_comparable(work: Work) -> None:
    certificate = make_certificate(RecipeLoaderFactory(), None, work, data=True)
    assert certificate.comparable, certificate.failed
    assert {check.name.partition(".")[0] for check in certificate.checks} == {"val", "train", "data"}


@dataclass
class _UnluckyFactory(LoaderFactory):
    """Draws other areas with some seeds: what chance may do, once."""

    unlucky: tuple[int, ...]
    name = "unlucky"

    def open(self, work: Work, options: Any) -> AbstractContextManager[Loader]:
        recipe = Recipe(area=(0.3, 1.0)) if work.seed in self.unlucky else Recipe()
        return RecipeLoaderFactory(recipe).open(work, options)


def test_what_chance_may_do_once_is_no_fault(work: Work) -> None:
    certificate = make_certificate(_UnluckyFactory((work.seed,)), None, work, data=False)
    assert certificate.comparable, certificate.failed


BRIEF = (
    "0..1 mean/std on 0..255, in train only",
    "grey in place of colour",
    "red brighter by one level",
    "mirrored upside down",
    "pixels of another image",
    "a rank that serves everything",
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
