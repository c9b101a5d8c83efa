"""Of finalists: the fastest, unless a cheaper one cannot be told from it."""

from __future__ import annotations

import pytest
from curves import configuration

from throughput.tuning.choice import choose
from throughput.tuning.configuration import Configuration

ONE, TWO, FOUR = configuration(1), configuration(2), configuration(4)
DEEP = configuration(2, 8)


def chosen(
    rates: dict[Configuration, list[float]], peaks: dict[Configuration, int | None] | None = None
) -> str:
    choice = choose(rates, peaks or {})
    return f"{choice.configuration.words}: {choice.words}"


def test_the_fastest_is_told_with_what_comes_next() -> None:
    assert chosen({TWO: [500.0, 510.0, 505.0], FOUR: [1000.0, 1010.0, 1020.0]}) == (
        "workers 4, batch 8, prefetch 2: the fastest of 2 finalists in 3 interleaved rounds; the next "
        "(workers 2, batch 8, prefetch 2) reaches 0.500 [0.488, 0.512] of its rate"
    )


def test_fewer_workers_are_preferred_where_nobody_can_tell() -> None:
    words = chosen({TWO: [990.0, 1000.0, 980.0], FOUR: [1000.0, 980.0, 1005.0]})
    assert words.startswith("workers 2,")
    assert "not told from the fastest (workers 4, batch 8, prefetch 2) in 3 interleaved rounds" in words
    assert words.endswith("of its rate, with fewer workers")


def test_then_less_memory_for_batches_and_then_as_measured() -> None:
    assert chosen({DEEP: [1000.0, 1000.0], TWO: [999.0, 998.0]}).endswith("with less memory")
    lean = Configuration(2, 8, (("processes", 2),))
    rich = Configuration(2, 8, (("processes", 0),))
    rates = {rich: [1000.0, 1000.0], lean: [999.0, 1001.0]}
    assert choose(rates, {rich: 900, lean: 500}).configuration == lean
    assert choose(rates, {rich: 500, lean: 900}).configuration == rich


@pytest.mark.parametrize(
    "cheaper",
    [
        [940.0, 1060.0, 800.0],  # so noisy that nothing can be told, and slower by 7 %
        [985.0, 986.0, 984.0],  # slower by 1.5 %, without a doubt
    ],
)
def test_what_is_slower_is_not_preferred_for_being_cheap(cheaper: list[float]) -> None:
    assert choose({ONE: cheaper, TWO: [1000.0, 1000.0, 1000.0]}, {}).configuration == TWO


def test_a_single_round_has_no_interval() -> None:
    words = chosen({ONE: [500.0], TWO: [1000.0]})
    assert "in a single round" in words
    assert words.endswith("reaches 0.500 of its rate")
