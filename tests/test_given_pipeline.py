"""A loader that is handed over travels whole, under a name that tells it from others."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import partial

import pytest

from throughput.api import chosen_loaders
from throughput.errors import OptionError, UnknownNameError
from throughput.fake import FakeLoaderFactory
from throughput.given_pipeline import GivenPipeline, name_of, told_apart
from throughput.registry import load_loader


def batches(count: int) -> Iterator[int]:
    yield from range(count)


def test_it_travels_whole_and_is_a_name_all_the_same() -> None:
    name = name_of(lambda: 7)
    assert name == "given:lambda"
    there = pickle.loads(pickle.dumps(name))
    assert isinstance(there, GivenPipeline)
    assert there.loader() == 7


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        (batches, "given:batches"),
        (partial(batches, 3), "given:batches"),
        (FakeLoaderFactory(), "given:FakeLoaderFactory"),
    ],
)
def test_it_is_called_after_what_it_is(loader: object, name: str) -> None:
    assert name_of(loader) == name
    assert name_of("torchvision") == "torchvision"


def test_two_of_one_name_are_told_apart_and_one_is_measured_once() -> None:
    one, two = name_of(partial(batches, 1)), name_of(partial(batches, 2))
    assert one == two
    assert told_apart([one, two, one, "dali", "dali"]) == [one, f"{two} 2", one, "dali", "dali"]
    assert chosen_loaders([partial(batches, 1), partial(batches, 2), partial(batches, 1)]) == (
        one,
        f"{two} 2",
    )


def test_what_cannot_travel_is_refused_with_the_way_out() -> None:
    with pytest.raises(OptionError, match="hand over a function that makes it"):
        name_of(batches(3))


def test_a_factory_is_a_loader_and_a_number_is_none() -> None:
    assert load_loader(name_of(FakeLoaderFactory())).name == "fake"
    with pytest.raises(UnknownNameError, match="not a LoaderFactory"):
        load_loader(name_of(3))
